"""What a web app answers when an event could not be stored: in FastAPI and in aiohttp."""

from contextlib import asynccontextmanager

import pytest
from aiohttp import web as aiohttp_web
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from fastapi import FastAPI
from fastapi.testclient import TestClient

import dawdle
from dawdle import BackendError, Dawdle, EventTooLargeError, SignalError
from dawdle.abc import Fault
from dawdle.aiohttp import cleanup_ctx, middleware
from dawdle.asgi import answer_to
from dawdle.backends.memory import Memory
from dawdle.fastapi import exception_handlers, lifespan
from tests.web.events import Placed

pytestmark = pytest.mark.anyio


def not_stored(*errors, stored=()):
    failed = {f"e-{number}": error for number, error in enumerate(errors)}
    return SignalError("could not store", ids=(*failed, *stored), failed=failed)


def fault(kind, uncertain=False):
    return BackendError("https://sqs.eu-central-1.amazonaws.com/123456789012/orders", kind=kind, uncertain=uncertain)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (not_stored(fault("unavailable")), 503, "5"),
        (not_stored(fault("throttled")), 503, "5"),
        (not_stored(fault("denied")), 503, "60"),
        (not_stored(fault("missing")), 503, "60"),
        (not_stored(fault("throttled"), fault("denied")), 503, "60"),
        (fault("unavailable"), 503, "5"),
        (EventTooLargeError("too large", size=2, limit=1), 413, None),
        (not_stored(EventTooLargeError("too large", size=2, limit=1)), 413, None),
    ],
)
def test_what_may_pass_is_answered_and_tells_no_cause(error, status, retry_after):
    answer = answer_to(error)
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
    assert b"123456789012" not in answer.body


@pytest.mark.parametrize(
    "error",
    [
        not_stored(fault("refused")),
        not_stored(fault("unavailable"), fault("refused")),
        not_stored(fault("unavailable"), ValueError("a backend of one's own")),
        not_stored(fault("unavailable"), EventTooLargeError("too large", size=2, limit=1)),
        fault("refused"),
        dawdle.NotAnEventError("no event"),
        dawdle.EventError("cannot travel"),
        dawdle.NoAppError("no app"),
        dawdle.ConfigurationError("wrong"),
        ValueError("of the user's own code"),
    ],
)
def test_what_is_wrong_with_the_code_is_not_answered(error):
    assert answer_to(error) is None


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (not_stored(fault("denied")), "not stored, try again later"),
        (not_stored(fault("unavailable", uncertain=True)), "may or may not be stored"),
        (not_stored(fault("denied"), stored=("e-9",)), "only a part was stored"),
    ],
)
def test_the_answer_says_whether_trying_again_may_double(error, detail):
    assert detail in answer_to(error).body.decode()


class Failing(Memory):
    """A queue that stores nothing, for one reason."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    async def send(self, batch):
        return [Fault(self.kind, "secret cause") for _ in batch]


class NotAnEvent:
    pass


CASES = [
    ("unavailable", Placed(order_id="o-1"), 503, "5"),
    ("denied", Placed(order_id="o-1"), 503, "60"),
    ("refused", Placed(order_id="o-1"), 500, None),
    ("unavailable", NotAnEvent(), 500, None),
    ("unavailable", Placed(order_id="o" * 2_000_000), 413, None),
]


@pytest.mark.parametrize(("kind", "event", "status", "retry_after"), CASES)
def test_fastapi_answers_so(kind, event, status, retry_after, registry, caplog):
    web = FastAPI(
        lifespan=lifespan(Dawdle(Failing(kind), registry=registry)), exception_handlers={**exception_handlers}
    )

    @web.post("/orders")
    async def place() -> None:
        await dawdle.signal(event)

    with TestClient(web, raise_server_exceptions=False) as client:
        answer = client.post("/orders")
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert "secret cause" not in answer.text
    logged = [message for message in caplog.messages if message.startswith(f"answered {status} to POST /orders: ")]
    assert len(logged) == (status != 500)


@pytest.mark.parametrize(("kind", "event", "status", "retry_after"), CASES)
async def test_aiohttp_answers_so(kind, event, status, retry_after, registry, caplog):
    async def place(request):
        await dawdle.signal(event)

    app = aiohttp_web.Application(middlewares=[middleware])
    app.cleanup_ctx.append(cleanup_ctx(Dawdle(Failing(kind), registry=registry)))
    app.router.add_post("/orders", place)
    async with AiohttpClient(TestServer(app)) as client:
        answer = await client.post("/orders")
        text = await answer.text()
    assert (answer.status, answer.headers.get("retry-after")) == (status, retry_after)
    assert "secret cause" not in text
    logged = [message for message in caplog.messages if message.startswith(f"answered {status} to POST /orders: ")]
    assert len(logged) == (status != 500)


def test_an_app_that_is_being_left_is_answered_with_503(registry):
    """As in a request that outlives its server's patience."""
    found = []

    @asynccontextmanager
    async def own(web):
        yield
        try:
            await dawdle.signal(Placed(order_id="o-1"))
        except dawdle.DawdleError as error:
            found.append(answer_to(error))

    with TestClient(FastAPI(lifespan=lifespan(Dawdle(Failing("unavailable"), registry=registry), own=own))):
        pass
    assert [answer.status for answer in found] == [503]
