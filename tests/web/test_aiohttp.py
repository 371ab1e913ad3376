"""The door for aiohttp, on aiohttp's own test server."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

import dawdle
from dawdle import Context, Dawdle, NoAppError
from dawdle.aiohttp import APP, app_of, cleanup_ctx, health_routes
from dawdle.backends.memory import Memory
from tests.web.events import Placed

pytestmark = pytest.mark.anyio


class Pool:
    is_open = True


POOL = web.AppKey("pool", Pool)


@pytest.fixture
def events(registry):
    return Dawdle(Memory(), registry=registry)


def make_web(events):
    async def place(request):
        return web.json_response({"event_id": await app_of(request).signal(Placed(**await request.json()))})

    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx(events))
    app.add_routes(health_routes(prefix="/internal"))
    app.router.add_post("/orders", place)
    return app


async def test_a_request_signals_and_the_probes_answer(events, registry):
    handled = []

    @registry.on_event
    async def note(event: Placed) -> None:
        handled.append(event)

    async with TestClient(TestServer(make_web(events))) as client:
        answer = await client.post("/orders", json={"order_id": "o-1"})
        assert list(await answer.json()) == ["event_id"]
        await events.idle()
        for name in ("live", "ready", "health"):
            assert (await client.get(f"/internal/{name}")).status == 200
            assert (await client.head(f"/internal/{name}")).status == 200
        assert client.server.app[APP] is events
    assert handled == [Placed(order_id="o-1")]
    assert events.health().state == "not entered"


async def test_a_handler_uses_what_the_web_app_holds_until_it_has_ended(registry):
    found = []

    @registry.on_event
    async def note(event: Placed, ctx: Context) -> None:
        found.append(ctx.state(web.Application)[POOL].is_open)

    async def pool(app):
        app[POOL] = Pool()
        yield
        app[POOL].is_open = False

    app = web.Application()
    app.cleanup_ctx.extend([pool, cleanup_ctx(lambda: Dawdle(Memory(), registry=registry))])

    async def place(request):
        await dawdle.signal(Placed(order_id="o-1"))
        return web.Response()

    app.router.add_post("/orders", place)
    async with TestClient(TestServer(app)) as client:
        await client.post("/orders")
    assert found == [True]


async def test_a_subapp_uses_the_app_of_the_web_app_around_it(events):
    sub = web.Application()

    async def which(request):
        return web.Response(text=repr(app_of(request)))

    sub.router.add_get("/which", which)
    app = make_web(events)
    app.add_subapp("/sub", sub)
    async with Dawdle(Memory()), TestClient(TestServer(app)) as client:  # another one in the loop
        assert await (await client.get("/sub/which")).text() == repr(events)


async def test_a_forgotten_cleanup_ctx_is_told():
    found = []

    async def which(request):
        with pytest.raises(NoAppError) as caught:
            app_of(request)
        found.extend(caught.value.__notes__)
        return web.Response()

    app = web.Application()
    app.add_routes(health_routes())
    app.router.add_get("/which", which)
    async with TestClient(TestServer(app)) as client:
        await client.get("/which")
        assert (await client.get("/ready")).status == 503
    assert found == ["Append dawdle.aiohttp.cleanup_ctx() to the cleanup_ctx of the web app"]
