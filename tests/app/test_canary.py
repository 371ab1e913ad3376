"""No body, receipt, key or credential is in anything that is written: a canary in each, and a search of all of it."""

import asyncio
import dataclasses
import enum
import gc
import logging
import math
import traceback

import attrs
import msgspec
import pydantic
import pytest

import dawdle
from dawdle import Context, Retry
from dawdle._flow.in_flight_message import InFlightMessage, Work
from dawdle._rules.envelope import open_envelope
from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

CANARY = "canary-7f3a"
KEY = f"{CANARY}-key-that-is-long-enough-to-be-one"


class Colour(enum.Enum):
    RED = "red"


class Struct(msgspec.Struct, forbid_unknown_fields=True):
    number: int = 0
    colour: Colour = Colour.RED
    secret: str = ""


@dataclasses.dataclass
class Data:
    number: int = 0
    secret: str = ""


@attrs.define
class Attrs:
    number: int = 0
    secret: str = ""


class Model(pydantic.BaseModel, extra="forbid"):
    number: int = 0
    colour: Colour = Colour.RED
    counts: dict[str, int] = {}
    secret: str = ""


class Prices(msgspec.Struct):
    by_name: dict[str, object]


class Telling(Memory):
    """A queue whose receipts hold the canary, and that says no when the test says so."""

    def __init__(self, **options):
        super().__init__(**options)
        self.says_no = {}

    def _no(self, name, batch):
        answer = self.says_no.get(name)
        if isinstance(answer, Exception):
            raise answer
        return None if answer is None else [answer] * len(batch)

    async def send(self, batch):
        return self._no("send", batch) or await super().send(batch)

    async def ack(self, receipts):
        return self._no("ack", receipts) or await super().ack([plain(each) for each in receipts])

    async def renew(self, receipts):
        return self._no("renew", receipts) or await super().renew([plain(each) for each in receipts])

    async def release(self, batch):
        return self._no("release", batch) or await super().release(
            [ReleaseEntry(plain(receipt), seconds) for receipt, seconds in batch]
        )

    async def receive(self, limit, wait):
        self._no("receive", [])
        deliveries = await super().receive(limit, wait)
        return [msgspec.structs.replace(each, receipt=f"{CANARY}-{each.receipt}") for each in deliveries]


def plain(receipt):
    """Return a receipt as the queue gave it. Fails for one that did not come from a receive."""
    assert receipt.startswith(f"{CANARY}-")
    return receipt.removeprefix(f"{CANARY}-")


@pytest.fixture
def queue(clock):
    return Telling(clock=clock, lease=30)


@pytest.fixture
def told(caplog):
    """Return everything that was logged, with its tracebacks."""
    caplog.set_level(logging.DEBUG)
    return lambda: "\n".join(logging.Formatter().format(record) for record in caplog.records)


def foreign(kind, **attributes):
    return msgspec.json.encode(
        {"specversion": "1.0", "id": "f-1", "source": "/elsewhere", "type": kind, "trace": CANARY, **attributes}
    )


def shown(root):
    """Return the repr of every object of ours that can be reached, in flight and idle."""
    seen, todo, texts = set(), [root], []
    while todo:
        each = todo.pop()
        if id(each) in seen or isinstance(each, (type, str, bytes, int, float)):
            continue
        seen.add(id(each))
        module = type(each).__module__
        if module.partition(".")[0] == "dawdle" and not module.startswith("dawdle.testing"):
            texts.append(repr(each))
            fields = getattr(type(each), "__struct_fields__", ())
            todo.extend(getattr(each, name) for name in fields)
            todo.extend(gc.get_referents(each))
        elif isinstance(each, (dict, list, tuple, set)):
            todo.extend(each.values() if isinstance(each, dict) else each)
    return texts


@pytest.fixture
async def debugging():
    """Have asyncio tell of every step that it makes, with the reprs of the tasks and futures in it."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    usual, loop.slow_callback_duration = loop.slow_callback_duration, 0.0
    yield
    loop.slow_callback_duration = usual
    loop.set_debug(False)


def raising(moment):
    raise LookupError("a hook's own mistake")


async def test_nothing_that_is_written_holds_a_body_a_receipt_or_a_key(
    running, registry, queue, clock, moments, told, debugging, capfd
):
    reprs, errors = [], []

    @registry.on_event(Struct, Data, Attrs, Model, retry=Retry(max_attempts=2, initial=1))
    async def handler(event: Struct | Data | Attrs | Model, ctx: Context):
        reprs.extend([repr(ctx), *shown(app)])
        if ctx.attempt == 1:
            raise ConnectionError("the mail server is away")
        if event.number == 1:
            raise dawdle.Reject("no account")
        if event.number == 2:
            await clock.sleep_until(clock.monotonic() + 100)

    @registry.on_event(Placed, concurrency=1)
    async def slow(event):
        await clock.sleep_until(clock.monotonic() + 5)

    hooks = [moments.append, raising]
    async with running(queue, signing_keys={"old": KEY}, headers={"tenant": CANARY}, grace=5, hooks=hooks) as app:
        for kind in (Struct, Data, Attrs, Model):
            await app.signal_many([kind(number=number, secret=CANARY) for number in range(3)])
        await app.signal_many([Placed(number) for number in range(5)])
        strange = [
            CANARY.encode(),
            b'{"' + CANARY.encode() + b'": ',
            b"\xff" + CANARY.encode(),
            foreign(CANARY[:6], data={"secret": CANARY}),
            b"[" * 1000 + CANARY.encode(),
        ]
        await queue.send([Outgoing(body) for body in strange])
        await clock.advance(10)
        for name in ("send", "ack", "renew", "release"):
            queue.says_no = {name: Fault("unavailable", "busy")}
            await app.signal(Struct(number=2, secret=CANARY)) if name != "send" else None
            await clock.advance(40)
        queue.says_no = {"send": BackendError("down"), "receive": BackendError("down")}
        for wrong in (
            app.signal(Struct(secret=CANARY)),
            app.signal_many([Struct(secret=CANARY)]),
            app.signal(Struct(secret=CANARY * 200_000)),
            app.signal(Struct(secret=CANARY + "\udc80")),
            app.signal(CANARY),
            app.signal(Struct(secret=CANARY), headers={"x": CANARY}, at=3),
            app.signal(Struct(secret=CANARY), headers={"x": CANARY.encode()}),
            app.signal(Prices({CANARY: math.nan})),
            app.signal(Prices({CANARY: object()})),
        ):
            with pytest.raises(Exception) as caught:
                await wrong
            errors.append("".join(traceback.format_exception(caught.value)))
        await clock.advance(100)
        queue.says_no = {}
        await app.signal(Struct(number=2, secret=CANARY))
        await clock.advance(3)
        reprs.extend([*shown(app), repr(app.health())])
        leaving = asyncio.create_task(app.stop_listener())
        await clock.advance(20)
        await leaving
    everything = "\n".join([told(), *capfd.readouterr(), *map(repr, moments), *errors, *reprs])
    assert len(everything) > 20_000
    assert "the mail server is away" in everything
    assert "the message is not signed" in everything
    assert "a hook's own mistake" in everything
    assert "Executing <Task" in everything
    assert CANARY not in everything


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (Struct, {"number": CANARY}),
        (Struct, {"colour": CANARY}),
        (Struct, {CANARY: 1}),
        (Data, {"number": CANARY}),
        (Attrs, {"number": CANARY}),
        (Model, {"number": CANARY}),
        (Model, {"colour": CANARY}),
        (Model, {"counts": {CANARY: CANARY}}),
        (Model, {CANARY: 1}),
        (Model, CANARY),
        (Struct, [CANARY]),
    ],
)
async def test_what_is_said_of_data_that_does_not_fit_repeats_nothing_of_it(
    running, registry, queue, moments, told, letters, kind, data
):
    @registry.on_event(kind)
    async def handler(event): ...

    async with running(queue) as app:
        await queue.send([Outgoing(foreign(kind.__name__, data=data))])
        await app.idle()
    (letter,) = letters()
    assert "the data does not fit" in letter["dawdleerror"]
    assert CANARY not in letter["dawdleerror"]
    assert CANARY not in told()
    assert CANARY not in "".join(map(repr, moments))


async def test_a_wrong_envelope_is_told_without_what_is_in_it(running, registry, queue, told, letters):
    @registry.on_event(Placed)
    async def handler(event): ...

    wrong = [{"specversion": CANARY}, {"dawdledue": CANARY}, {"dawdleattempt": CANARY}, {"dawdledelay": CANARY}]
    async with running(queue) as app:
        await queue.send([Outgoing(foreign("Placed", **each)) for each in wrong])
        await app.idle()
    assert len(letters()) == 4
    assert not [letter for letter in letters() if CANARY in letter["dawdleerror"]]
    assert CANARY not in told()


async def test_a_signing_key_is_in_no_repr_and_no_error():
    app = dawdle.Dawdle(signing_keys={"now": KEY})
    assert not [text for text in shown(app) if CANARY in text]
    for wrong in ({"now": CANARY}, {"now": [KEY]}, {"": KEY}, {}, KEY):
        with pytest.raises(dawdle.ConfigurationError) as caught:
            dawdle.Dawdle(signing_keys=wrong)
        assert CANARY not in str(caught.value)


async def test_what_is_only_passed_along_shows_nothing_either(clock):
    body = foreign("Placed", data_base64="Y2FuYXJ5", data={"secret": CANARY}, dawdleerror=CANARY)
    envelope = open_envelope(body)
    hand = InFlightMessage(None, Delivery(CANARY, "key", body), clock)
    assert envelope.data_base64 == b"canary"
    for each in (Outgoing(body), envelope, Work(Struct(secret=CANARY), envelope, body, hand, ()), hand):
        assert "canary" not in repr(each)
