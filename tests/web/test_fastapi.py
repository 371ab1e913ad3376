"""The door for FastAPI, in the real framework and without a server."""

import asyncio
import threading
from contextlib import asynccontextmanager
from contextvars import ContextVar

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.middleware.base import BaseHTTPMiddleware

import dawdle
from dawdle import Context, Dawdle, NoAppError, Retry
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.fastapi import Events, app, exception_handlers, health_router, lifespan
from tests.web.events import Placed

request_id = ContextVar("request_id", default="")


@pytest.fixture
def handled(registry):
    """What the one handler was given, in order."""
    found = []

    @registry.on_event
    async def note(event: Placed) -> None:
        found.append(event)

    return found


@pytest.fixture
def events(registry):
    return Dawdle(Memory(), registry=registry)


def make_web(events, **options):
    web = FastAPI(lifespan=lifespan(events, **options), exception_handlers=exception_handlers)
    web.include_router(health_router())

    @web.post("/orders", status_code=202)
    async def place(order: Placed, events: Events) -> dict[str, str]:
        return {"event_id": await events.signal(order)}

    return web


def idle(client, events):
    client.portal.call(events.idle)


def test_a_request_body_is_an_event_as_it_is(events, handled):
    with TestClient(make_web(events)) as client:
        answer = client.post("/orders", json={"order_id": "o-1", "total": 3})
        assert (answer.status_code, list(answer.json())) == (202, ["event_id"])
        idle(client, events)
    assert handled == [Placed(order_id="o-1", total=3)]


def test_a_web_app_may_start_again(events, handled):
    web = make_web(events)
    for _ in range(2):
        with TestClient(web) as client:
            client.post("/orders", json={"order_id": "o-1"})
            idle(client, events)
    assert len(handled) == 2
    assert not hasattr(web.state, "dawdle")


def test_without_an_app_the_environment_says_which(handled, registry, monkeypatch, tmp_path):
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", str(tmp_path / "app.db"))
    web = make_web(None)
    with TestClient(web) as client:
        assert client.get("/ready").json() == {"status": "ready"}
        assert "SQLite" in repr(web.state.dawdle)


def test_a_function_makes_an_app_at_each_start(registry, handled):
    made = []

    def make():
        made.append(Dawdle(Memory(), registry=registry))
        return made[-1]

    web = make_web(make)
    for _ in range(2):
        with TestClient(web) as client:
            client.post("/orders", json={"order_id": "o-1"})
            idle(client, made[-1])
    assert len(made) == len(handled) == 2


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (make_web, "a lifespan of your own goes to own="),
        ("memory", "the app is a dawdle.Dawdle, or a function without arguments"),
        (lambda: "memory", "returned 'memory', which is no dawdle.Dawdle"),
    ],
)
def test_what_is_no_app_is_refused(wrong, text):
    with pytest.raises(dawdle.ConfigurationError, match=text), TestClient(FastAPI(lifespan=lifespan(wrong))):
        pass


async def generator(web):
    yield


async def coroutine(web):
    pass


@pytest.mark.parametrize(
    ("own", "text"),
    [
        (generator, "returned an object of the type async_generator, .*write @contextlib.asynccontextmanager above it"),
        (coroutine, "own= returned an object of the type coroutine, .*let it yield once"),
        ("resources", "own= is a lifespan of your own, .*, not 'resources'"),
    ],
)
def test_what_is_no_lifespan_is_refused(events, own, text):
    with pytest.raises(dawdle.ConfigurationError, match=text), TestClient(FastAPI(lifespan=lifespan(events, own=own))):
        pass


def test_the_users_own_lifespan_is_inside_the_app_and_around_its_handlers(registry):
    said = []

    @registry.on_event(name="note")
    async def note(event: Placed) -> None:
        await asyncio.sleep(0.01)
        said.append(event.order_id)

    @asynccontextmanager
    async def own(web: FastAPI):
        await dawdle.signal(Placed(order_id="at the start"))
        said.append("opened")
        yield {"pool": "the pool"}
        said.append("closed")

    web = make_web(Dawdle(Memory(), registry=registry), own=own)

    @web.get("/pool")
    async def pool(request: Request) -> str:
        return request.state.pool

    with TestClient(web) as client:
        assert client.get("/pool").json() == "the pool"
        client.post("/orders", json={"order_id": "in a request"})
    assert said == ["opened", "at the start", "in a request", "closed"]


def test_an_error_of_the_users_own_lifespan_is_raised_as_it_is(events):
    @asynccontextmanager
    async def own(web: FastAPI):
        raise ZeroDivisionError("no database")
        yield

    with pytest.raises(ZeroDivisionError, match="no database"), TestClient(make_web(events, own=own)):
        pass
    assert events.health().state == "not entered"


def test_routers_with_lifespans_of_their_own_run_too(events, handled):
    said = []

    @asynccontextmanager
    async def theirs(web: FastAPI):
        await dawdle.signal(Placed(order_id="of a router"))
        yield {"of_router": 1}
        said.append("router closed")

    @asynccontextmanager
    async def own(web: FastAPI):
        yield {"of_own": 2}
        said.append("own closed")

    web = make_web(events, own=own)
    router = APIRouter(lifespan=theirs)

    @router.get("/state")
    async def state(request: Request) -> list[int]:
        return [request.state.of_router, request.state.of_own]

    web.include_router(router)
    with TestClient(web) as client:
        assert client.get("/state").json() == [1, 2]
        idle(client, events)
    assert [event.order_id for event in handled] == ["of a router"]
    assert said == ["router closed", "own closed"]


class Pool:
    pass


class Settings:
    pass


def test_handlers_find_what_the_own_lifespan_yields_and_the_web_app(registry):
    found = []
    pool, settings = Pool(), Settings()

    @registry.on_event(Placed)
    async def note(event: Placed, ctx: Context) -> None:
        found.extend([ctx.state(Pool), ctx.state(Settings), ctx.state(FastAPI)])

    @asynccontextmanager
    async def own(web: FastAPI):
        yield {"pool": pool, "settings": settings}

    events = Dawdle(Memory(), registry=registry)
    web = make_web(events, own=own)
    with TestClient(web) as client:
        client.post("/orders", json={"order_id": "o-1"})
        idle(client, events)
    assert found == [pool, settings, web]


def test_what_the_apps_own_lifespan_yields_comes_first(registry):
    found = []
    first, second = Pool(), Pool()

    @registry.on_event(Placed)
    async def note(event: Placed, ctx: Context) -> None:
        found.append(ctx.state(Pool))

    @asynccontextmanager
    async def of_the_app(app: Dawdle):
        yield first

    @asynccontextmanager
    async def own(web: FastAPI):
        yield {"pool": second}

    events = Dawdle(Memory(), registry=registry, lifespan=of_the_app)
    with TestClient(make_web(events, own=own)) as client:
        client.post("/orders", json={"order_id": "o-1"})
        idle(client, events)
    assert found == [first]


def test_two_values_of_one_type_are_no_answer(registry, caplog):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def note(event: Placed, ctx: Context) -> None:
        ctx.state(Pool)

    @asynccontextmanager
    async def own(web: FastAPI):
        yield {"reading": Pool(), "writing": Pool()}

    events = Dawdle(Memory(), registry=registry)
    with TestClient(make_web(events, own=own)) as client:
        client.post("/orders", json={"order_id": "o-1"})
        idle(client, events)
    assert "asks for the state Pool, and a lifespan yields several, as 'reading', 'writing'" in caplog.text


def test_two_web_apps_in_one_process_have_their_own_apps(registry):
    one, two = Dawdle(Memory(), registry=registry), Dawdle(Memory(), registry=registry)
    with TestClient(make_web(one)) as first, TestClient(make_web(two)) as second:
        for client in (first, second):
            assert client.post("/orders", json={"order_id": "o-1"}).status_code == 202


async def in_one_loop(web):
    transport = httpx.ASGITransport(web)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        return await client.get("/which")


@pytest.mark.anyio
async def test_two_web_apps_in_one_loop_have_their_own_apps(registry):
    apps = [Dawdle(Memory(), registry=registry) for _ in range(2)]
    webs = []
    for each in apps:
        web = FastAPI(lifespan=lifespan(each))

        @web.get("/which")
        async def which(events: Events) -> str:
            return repr(events)

        webs.append(web)
    async with webs[0].router.lifespan_context(webs[0]), webs[1].router.lifespan_context(webs[1]):
        for web, each in zip(webs, apps, strict=True):
            assert (await in_one_loop(web)).json() == repr(each)


def test_a_mounted_web_app_uses_the_app_around_it(events, handled):
    inner = FastAPI()

    @inner.post("/orders")
    async def place(order: Placed, events: Events) -> None:
        await events.signal(order)

    web = make_web(events)
    web.mount("/v1", inner)
    with TestClient(web) as client:
        assert client.post("/v1/orders", json={"order_id": "o-1"}).status_code == 200
        idle(client, events)
    assert len(handled) == 1


def test_a_forgotten_lifespan_is_told(events):
    with pytest.raises(NoAppError) as caught:
        TestClient(make_web(events)).post("/orders", json={"order_id": "o-1"})
    assert "with TestClient(web) as client:" in caught.value.__notes__[0]


def test_a_test_may_override_the_app(events, handled):
    class Fake:
        async def signal(self, event):
            return "fake"

    web = make_web(events)
    web.dependency_overrides[app] = Fake
    assert TestClient(web).post("/orders", json={"order_id": "o-1"}).json() == {"event_id": "fake"}


def test_def_endpoints_signal_from_their_thread(events, handled):
    web = make_web(events)

    @web.post("/in-a-thread")
    def place(order: Placed, events: Events) -> bool:
        dawdle.from_thread.signal(order, app=events)
        return threading.current_thread() is threading.main_thread()

    with TestClient(web) as client:
        assert client.post("/in-a-thread", json={"order_id": "o-1"}).json() is False
        idle(client, events)
    assert len(handled) == 1


def test_websockets_have_events_too(events, handled):
    web = make_web(events)

    @web.websocket("/orders")
    async def place(socket: WebSocket, events: Events) -> None:
        await socket.accept()
        async with events.stream(Placed) as seen:
            await events.signal(Placed(order_id=await socket.receive_text()))
            async for event in seen:
                await socket.send_text(event.order_id)
                break
        await socket.close()

    with TestClient(web) as client, client.websocket_connect("/orders") as socket:
        socket.send_text("o-1")
        assert socket.receive_text() == "o-1"
    assert len(handled) == 1


def test_a_websocket_whose_event_could_not_be_stored_is_closed_to_try_again_later(registry, caplog):
    class Denied(Memory):
        async def send(self, batch):
            return [Fault("denied", "secret cause") for _ in batch]

    web = make_web(Dawdle(Denied(), registry=registry))

    @web.websocket("/orders")
    async def place(socket: WebSocket, events: Events) -> None:
        await socket.accept()
        await events.signal(Placed(order_id="o-1"))

    with (
        TestClient(web) as client,
        client.websocket_connect("/orders") as socket,
        pytest.raises(WebSocketDisconnect) as caught,
    ):
        socket.receive_text()
    assert caught.value.code == 1013
    assert "answered 503 to websocket /orders: could not store event" in caplog.text


def test_server_sent_events_show_what_is_handled(events, handled):
    web = make_web(events)

    @web.get("/events")
    async def show(events: Events) -> StreamingResponse:
        async def lines():
            async with events.stream(Placed) as seen:
                await events.signal(Placed(order_id="o-1"))
                async for event in seen:
                    yield f"data: {event.order_id}\n\n"
                    return

        return StreamingResponse(lines(), media_type="text/event-stream")

    with TestClient(web) as client:
        assert client.get("/events").text == "data: o-1\n\n"


class PlainMiddleware:
    """As pure ASGI middlewares set a context variable."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            request_id.set(dict(scope["headers"]).get(b"x-request-id", b"").decode())
        await self.app(scope, receive, send)


async def set_request_id(request, call_next):
    request_id.set(request.headers.get("x-request-id", ""))
    return await call_next(request)


async def depend_on_request_id(request: Request):
    request_id.set(request.headers.get("x-request-id", ""))


@pytest.mark.parametrize("how", ["plain", "base", "dependency"])
@pytest.mark.parametrize("path", ["/orders", "/in-a-thread"])
def test_what_carry_names_travels_from_the_request_to_the_handler(registry, how, path):
    found = []

    @registry.on_event
    async def note(event: Placed) -> None:
        found.append(request_id.get())

    events = Dawdle(Memory(), registry=registry, carry={"requestid": request_id})
    dependencies = [Depends(depend_on_request_id)] if how == "dependency" else []
    web = FastAPI(lifespan=lifespan(events), dependencies=dependencies)
    if how == "plain":
        web.add_middleware(PlainMiddleware)
    elif how == "base":
        web.add_middleware(BaseHTTPMiddleware, dispatch=set_request_id)

    @web.post("/orders")
    async def place(order: Placed, events: Events) -> None:
        await events.signal(order)

    @web.post("/in-a-thread")
    def place_in_thread(order: Placed) -> None:
        dawdle.from_thread.signal(order)

    with TestClient(web) as client:
        for each in ("r-1", "r-2"):
            client.post(path, json={"order_id": "o-1"}, headers={"x-request-id": each})
        idle(client, events)
    assert sorted(found) == ["r-1", "r-2"]


class Slow(Memory):
    """A queue that takes its time to store."""

    async def send(self, batch):
        await asyncio.sleep(0.05)
        return await super().send(batch)


def test_a_request_that_is_cancelled_while_it_signals_stores_all_of_it(registry):
    handled = []

    @registry.on_event
    async def note(event: Placed) -> None:
        handled.append(event.order_id)

    events = Dawdle(Slow(), registry=registry)
    web = make_web(events)

    @web.post("/many")
    async def place_many(events: Events) -> str:
        try:
            async with asyncio.timeout(0.01):
                await events.signal_many(Placed(order_id=f"o-{number}") for number in range(25))
        except TimeoutError:
            return "cancelled"
        return "in time"

    with TestClient(web) as client:
        assert client.post("/many").json() == "cancelled"
        client.portal.call(asyncio.sleep, 0.1)  # the requests that were cut off go on
        idle(client, events)
    assert sorted(handled) == sorted(f"o-{number}" for number in range(25))


def test_a_queue_that_answers_is_ready_when_the_web_app_has_started(registry, tmp_path):
    for number in range(5):
        app = Dawdle(SQLite(tmp_path / f"{number}.db"), registry=registry)
        with TestClient(make_web(app)) as client:
            assert client.get("/ready").status_code == 200


def test_probes_have_a_prefix_tags_and_a_schema_as_any_router(events):
    web = FastAPI(lifespan=lifespan(events))
    web.include_router(health_router(), prefix="/internal", tags=["ops"])
    web.include_router(health_router(prefix="/hidden", include_in_schema=False))
    with TestClient(web) as client:
        for path in ("/internal/live", "/internal/ready", "/internal/health", "/hidden/ready"):
            assert client.get(path).status_code == 200
            assert client.head(path).status_code == 200
        paths = client.get("/openapi.json").json()["paths"]
    assert list(paths) == ["/internal/live", "/internal/ready", "/internal/health"]
    assert list(paths["/internal/ready"]) == ["get"]
    assert paths["/internal/ready"]["get"]["tags"] == ["health", "ops"] or paths["/internal/ready"]["get"]["tags"] == [
        "ops",
        "health",
    ]
