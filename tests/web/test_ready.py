"""What the probes of a web app answer: at the start, while its queue cannot be reached, and while it stops."""

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager, suppress

import pytest

from dawdle import BackendError, Dawdle
from dawdle.asgi import health_routes, lifespan, probe
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.testing import TestApp
from dawdle.testing.sqs import SQSServer
from tests.ports import free_port
from tests.web.events import Placed

pytestmark = [pytest.mark.anyio, pytest.mark.once]

QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


class Web:
    """The least that a lifespan needs."""


@pytest.fixture(autouse=True)
def leaves_no_task(no_task_is_left):
    return


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")


@pytest.fixture
def with_credentials(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def listens():
    return False


BOTH = pytest.mark.parametrize("listens", [True, False], ids=["listens", "signals only"])
"""A listening app meets the trouble by itself, one that only signals by its first signal: or by the ping."""


@pytest.fixture
def make_app(registry, listens):
    def make(backend):
        @registry.on_event
        async def note(event: Placed) -> None: ...

        return Dawdle(backend, registry=registry, start_listener=listens, grace=0.1)

    return make


def answered(app, name):
    answer = probe(app, name)
    return answer.status, json.loads(answer.body)


SLOW = ("its queue has not answered", "no answer of the queue in", "the event loop was blocked")
"""How the reasons begin that a busy machine gives."""


async def until_ready(app, status, seconds=30.0):
    """Wait until /ready has a status, and for another reason than that all is slow."""
    until = time.monotonic() + seconds
    while True:
        found, body = answered(app, "ready")
        reason = body.get("reason", "")
        if found == status and not reason.startswith(SLOW):
            return body
        assert time.monotonic() < until, body
        await asyncio.sleep(0.02)


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "dawdle._web.monitor"]


async def test_an_app_that_is_not_entered_is_not_ready_and_alive(make_app):
    app = make_app(Memory())
    assert answered(app, "live") == (200, {"status": "live"})
    assert answered(app, "ready") == (503, {"status": "not ready", "reason": "the app is not entered"})
    status, report = answered(app, "health")
    assert (status, report["ready"], report["health"]["state"]) == (503, False, "not entered")


async def test_a_web_app_without_an_app_says_what_to_do():
    assert answered(None, "live")[0] == 200
    assert answered(None, "ready")[1]["reason"] == "no app is entered: give the web app dawdle's lifespan"


@pytest.mark.parametrize("kind", ["memory", "sqlite", "sqs"])
async def test_a_queue_that_answers_is_ready_at_once(kind, make_app, tmp_path, with_credentials, caplog):
    async with SQSServer(queues=("orders",)) as server:
        backend = {
            "memory": Memory,
            "sqlite": lambda: SQLite(tmp_path / "app.db"),
            "sqs": lambda: SQS(server.queue_url("orders"), region="eu-central-1", wait=1),
        }[kind]()
        app = make_app(backend)
        async with lifespan(app)(Web()):
            assert await until_ready(app, 200, 3) == {"status": "ready"}
            assert answered(app, "health")[0] == 200
    assert answered(app, "ready")[0] == 503
    assert errors(caplog) == []


class Slow(Memory):
    """A queue that takes its time to open."""

    opening = opened = None

    async def __aenter__(self):
        self.opening, self.opened = asyncio.Event(), asyncio.Event()
        self.opening.set()
        await self.opened.wait()
        return await super().__aenter__()


async def test_a_queue_that_is_not_open_is_not_ready(make_app):
    queue = Slow()
    app = make_app(queue)

    async def serve():
        async with lifespan(app)(Web()):
            pass

    serving = asyncio.create_task(serve())
    while queue.opening is None:
        await asyncio.sleep(0)
    assert answered(app, "ready") == (
        503,
        {"status": "not ready", "reason": "the app is being entered: its queue is not open yet"},
    )
    assert answered(app, "live")[0] == 200
    queue.opened.set()
    await serving


async def test_an_own_lifespan_that_takes_its_time_is_not_ready(make_app):
    app = make_app(Memory())
    entering, go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def own(web):
        entering.set()
        await go_on.wait()
        yield

    async def serve():
        async with lifespan(app, own=own)(Web()):
            await until_ready(app, 200)

    serving = asyncio.create_task(serve())
    await entering.wait()
    assert answered(app, "ready") == (503, {"status": "not ready", "reason": "the app is entering"})
    go_on.set()
    await serving


async def test_an_app_that_stops_is_not_ready(registry):
    found = []
    app = Dawdle(Memory(), registry=registry)

    @registry.on_event
    async def slow(event: Placed) -> None:
        await asyncio.sleep(0.05)
        found.append(answered(app, "ready"))

    async with lifespan(app)(Web()):
        await app.signal(Placed(order_id="o-1"))
        await asyncio.sleep(0.01)
    assert found == [(503, {"status": "not ready", "reason": "the app is stopping"})]


async def test_an_app_that_has_died_is_not_alive(registry):
    class Broken(Memory):
        async def receive(self, limit, wait):
            raise BackendError("the address is that of no queue", kind="refused")

    @registry.on_event
    async def note(event: Placed) -> None: ...

    app = Dawdle(Broken(), registry=registry)
    with pytest.raises(BackendError):
        async with lifespan(app)(Web()):
            await app.ended()
            status, body = answered(app, "live")
            assert (status, body["status"]) == (503, "dead")
            assert "the address is that of no queue" in body["reason"]
            assert answered(app, "ready")[0] == 503


@pytest.mark.parametrize(
    ("listens", "fault", "cause", "advice"),
    [
        (True, "queue_missing", "The specified queue does not exist", "make the queue, or correct its address"),
        (False, "queue_missing", "The specified queue does not exist", "make the queue, or correct its address"),
        (True, "expired_token", "The security token included in the request is expired", "check the credentials"),
        (False, "expired_token", "The security token included in the request is expired", "check the credentials"),
        (False, "throttle", "RequestThrottled", "it passes by itself"),
        (False, "server_error", "ServiceUnavailable", "check the address of the queue, and the network"),
    ],
)
async def test_a_queue_that_refuses_is_not_ready_until_it_does_not(
    fault, cause, advice, make_app, with_credentials, caplog
):
    async with SQSServer(queues=("orders",)) as server:
        server.faults.add(fault)
        app = make_app(SQS(server.queue_url("orders"), region="eu-central-1", wait=1))
        async with lifespan(app)(Web()):
            body = await until_ready(app, 503)
            assert cause in body["reason"]
            assert "\n" not in body["reason"]
            assert answered(app, "live")[0] == 200
            (line,) = errors(caplog)
            assert cause in line
            assert line.index(cause) < line.index(advice) < line.index("The start goes on")
            server.faults.clear()
            if not listens:  # the receives that were refused come again only after some seconds
                await until_ready(app, 200)
                assert errors(caplog)[-1] == "the queue answers now, and /ready answers 200"


@BOTH
async def test_access_denied_is_not_ready(make_app, listens, with_credentials):
    async with SQSServer(queues=("orders",)) as server:
        server.faults.add("access_denied")
        app = make_app(SQS(server.queue_url("orders"), region="eu-central-1", wait=1))
        async with lifespan(app)(Web()):
            if not listens:  # a policy that allows nothing but sending denies a ping too
                await until_ready(app, 200)
                with pytest.raises(Exception, match="AccessDenied"):
                    await app.signal(Placed(order_id="o-1"))
            assert "AccessDenied" in (await until_ready(app, 503))["reason"]


@BOTH
async def test_no_credentials_is_not_ready(make_app, caplog):
    app = make_app(SQS(QUEUE, endpoint_url="http://127.0.0.1:9"))
    async with lifespan(app)(Web()):
        body = await until_ready(app, 503)
        assert body["reason"].startswith("no AWS credentials found: set AWS_ACCESS_KEY_ID")
        assert errors(caplog)[0].startswith("no AWS credentials found: set AWS_ACCESS_KEY_ID")


@BOTH
async def test_a_closed_port_is_not_ready_until_it_opens(make_app, with_credentials, caplog):
    port = free_port()
    app = make_app(SQS(f"http://127.0.0.1:{port}/000000000000/orders", region="eu-central-1", wait=1))
    async with lifespan(app)(Web()):
        body = await until_ready(app, 503)
        assert "ConnectionRefusedError" in body["reason"]
        assert any("Could not connect" in error for error in errors(caplog))
        async with SQSServer(queues=("orders",), port=port):
            await until_ready(app, 200, 20)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SQS("http://127.0.0.1:9/000000000000/orders"), "no AWS region is set"),
        (lambda: SQLite("/nonexistent/app.db"), "there is no directory /nonexistent"),
    ],
)
async def test_what_does_not_pass_by_itself_keeps_the_web_app_from_starting(make, text, make_app, caplog, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    app = make_app(make())
    with pytest.raises(Exception, match=text):
        async with lifespan(app)(Web()):
            pass
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert text in record.getMessage()
    assert record.getMessage().endswith(". So the web app does not start")


async def test_sends_that_work_again_are_noticed_without_a_signal(registry, with_credentials):
    async with SQSServer(queues=("orders",)) as server:
        app = Dawdle(SQS(server.queue_url("orders"), region="eu-central-1"), registry=registry, start_listener=False)
        async with lifespan(app)(Web()):
            await until_ready(app, 200)
            server.faults.add("queue_missing")
            with pytest.raises(Exception, match="does not exist"):
                await app.signal(Placed(order_id="o-1"))
            assert answered(app, "ready")[0] == 503
            server.faults.clear()
            await until_ready(app, 200)


async def test_a_start_that_blocks_the_loop_is_ready_when_it_is_over(make_app):
    @asynccontextmanager
    async def own(web):
        time.sleep(1.6)  # noqa: ASYNC251 - as one that loads a model
        yield

    app = make_app(Memory())
    async with lifespan(app, own=own)(Web()):
        assert answered(app, "ready") == (200, {"status": "ready"})


async def test_a_loop_that_was_blocked_is_not_ready(make_app):
    app = make_app(Memory())
    async with lifespan(app)(Web()):
        await until_ready(app, 200)
        time.sleep(1.6)  # noqa: ASYNC251 - that is the mistake
        status, body = answered(app, "ready")
        assert status == 503
        assert body["reason"].startswith("the event loop was blocked for 1.")
        await asyncio.sleep(0.6)  # the beat has had its turn meanwhile
        assert answered(app, "ready")[0] == 503


async def call(routes, path, method="GET"):
    sent = []

    async def send(message):
        sent.append(message)

    await routes({"type": "http", "path": path, "method": method}, None, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


async def test_the_routes_need_no_framework(make_app):
    app = make_app(Memory())
    async with lifespan(app)(Web()):
        await until_ready(app, 200)
        for routes in (health_routes(), health_routes(app)):
            status, headers, body = await call(routes, "/internal/ready")
            assert (status, body) == (200, b'{"status":"ready"}')
            assert headers[b"content-length"] == b"18"
            assert headers[b"cache-control"] == b"no-store"
            assert await call(routes, "/ready/", "HEAD") == (200, headers, b"")
            assert (await call(routes, "/reedy"))[0] == 404
            status, headers, _ = await call(routes, "/ready", "POST")
            assert (status, headers[b"allow"]) == (405, b"GET, HEAD")
    assert (await call(health_routes(), "/ready"))[0] == 503


class Stubborn(Memory):
    """Its ping ends by no cancellation."""

    def __init__(self):
        super().__init__()
        self.over = asyncio.Event()

    async def ping(self):
        while not self.over.is_set():
            with suppress(asyncio.CancelledError):
                await self.over.wait()


async def test_a_ping_that_ignores_its_cancellation_delays_no_stop(registry, caplog):
    queue = Stubborn()
    began = time.monotonic()
    async with lifespan(Dawdle(queue, registry=registry))(Web()):
        pass
    assert time.monotonic() - began < 30
    assert "a ping of the queue did not end when it was cancelled" in caplog.text
    queue.over.set()
    await asyncio.sleep(0.05)


async def test_what_a_web_app_raises_comes_out_as_it_is(registry):
    with pytest.raises(OSError, match="the pool is gone"):
        async with lifespan(TestApp(registry=registry))(Web()):
            raise OSError("the pool is gone")
