"""The door for aiohttp, on aiohttp's own test server."""

import asyncio
import socket
from functools import partial

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestClient, TestServer

import dawdle
from dawdle import ConfigurationError, Context, Dawdle, NoAppError
from dawdle.aiohttp import APP, app_of, cleanup_ctx, health_routes, health_server
from dawdle.backends.memory import Memory
from tests.ports import free_port
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


async def test_a_worker_serves_its_probes_on_a_port_of_its_own(registry):
    answers = {}

    async def greet(request):
        return web.Response(text="hello")

    port = free_port()
    app = Dawdle(Memory(), registry=registry)
    served = partial(health_server, port=port, host="127.0.0.1", routes=[web.get("/greet", greet)])
    async with app.with_lifespan(served), ClientSession(f"http://127.0.0.1:{port}") as client:
        for name in ("live", "ready", "health", "greet"):
            async with client.get(f"/{name}") as answer:
                answers[name] = answer.status, await answer.text()
    assert answers["live"] == (200, '{"status":"live"}')
    assert answers["ready"] == (200, '{"status":"ready"}')
    assert answers["greet"] == (200, "hello")
    assert '"state":"running"' in answers["health"][1]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_probes_may_be_served_on_a_unix_socket(registry, tmp_path):
    app, path = Dawdle(Memory(), registry=registry), tmp_path / "probes"
    async with (
        app.with_lifespan(partial(health_server, path=path)),
        ClientSession("http://worker", connector=UnixConnector(str(path))) as client,
    ):
        assert (await client.get("/live")).status == 200


async def test_probes_answer_while_the_last_handlers_run(registry):
    app, path, began, goes_on = Dawdle(Memory(), registry=registry), free_port(), asyncio.Event(), asyncio.Event()

    @registry.on_event
    async def slow(event: Placed) -> None:
        began.set()
        await goes_on.wait()

    async with ClientSession(f"http://127.0.0.1:{path}") as client:
        async with app.with_lifespan(partial(health_server, port=path, host="127.0.0.1")):
            await app.signal(Placed(order_id="o-1"))
            await began.wait()
            stopping = asyncio.get_running_loop().create_task(ready_while_stopping(client, goes_on))
        assert await stopping == '{"status":"not ready","reason":"the app is stopping"}'


async def ready_while_stopping(client, goes_on):
    async with asyncio.timeout(20):
        while "stopping" not in (text := await (await client.get("/ready")).text()):
            await asyncio.sleep(0.005)
    goes_on.set()
    return text


async def test_a_port_that_is_taken_is_told_with_its_number(registry):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"cannot serve the probes on port {port} of 127.0.0.1: .*in use"):
            async with Dawdle(Memory(), registry=registry).with_lifespan(
                partial(health_server, port=port, host="127.0.0.1")
            ):
                pass


@pytest.mark.parametrize("options", [{}, {"port": 1, "path": "x"}])
async def test_probes_need_one_place(options):
    with pytest.raises(ConfigurationError, match="takes a port, such as port=8080, or the path"):
        async with health_server(Dawdle(Memory()), **options):
            pass


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"port": 99999}, "port is 0 to 65535, not 99999"),
        ({"port": 8080, "host": "no.such.host.invalid"}, "no.such.host"),
    ],
)
async def test_a_place_that_cannot_be_is_told(registry, options, text):
    with pytest.raises(ConfigurationError, match=text) as caught:
        async with health_server(Dawdle(Memory(), registry=registry), **options):
            pass
    assert "Unknown error" not in str(caught.value)
