"""A record about an event has its id, type, handler, attempt and queue as fields, as JSON formatters show them."""

import json
import logging

import msgspec
import pytest

import dawdle
from dawdle import Dawdle, Reject, Retry
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio

FIELDS = ("dawdle_event_id", "dawdle_event_type", "dawdle_handler", "dawdle_attempt", "dawdle_queue")


def fields_of(record):
    return tuple(record.__dict__[name] for name in FIELDS)


@pytest.fixture
def records(caplog):
    """The records about events. Each one that shows an event's id has it as a field too."""
    yield lambda: [record for record in caplog.records if hasattr(record, FIELDS[0])]
    for record in caplog.records:
        words = record.getMessage().replace(",", " ").replace(":", " ").replace(";", " ").split()
        if any(len(word) == 32 and set(word) <= set("0123456789abcdef") for word in words):
            assert record.dawdle_event_id in words


async def test_each_failure_of_a_handler_and_its_end_can_be_found_by_the_event(running, registry, clock, records):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=100, jitter=0))
    async def mail(event: Placed) -> None:
        raise ConnectionError("away")

    async with running() as app:
        event_id = await app.signal(Placed(1))
        await clock.advance(200)
    first, last, dead = records()
    assert fields_of(first) == (event_id, "Placed", "mail", 1, "default")
    assert fields_of(last) == fields_of(dead) == (event_id, "Placed", "mail", 2, "default")
    assert dead.getMessage().startswith("dead-lettered")


async def test_many_failures_alike_have_the_fields_of_the_one_that_is_shown(running, registry, clock, records):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=9, initial=1000))
    async def mail(event: Placed) -> None:
        raise ConnectionError("away")

    async with running() as app:
        ids = await app.signal_many([Placed(number) for number in range(5)])
        await clock.advance(90)
    _, counted = records()
    assert "more times" in counted.getMessage()
    assert counted.dawdle_event_id in ids
    assert fields_of(counted)[1:] == ("Placed", "mail", 1, "default")


async def test_a_reject_an_unclaimed_event_and_a_slow_handler_say_of_which_event(registry, clock, records):
    queue = Memory(clock=clock)
    queue.limits = msgspec.structs.replace(queue.limits, shared=True)

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        if event.number == 1:
            raise Reject("no address")
        await clock.sleep_until(clock.monotonic() + 90)

    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await app.signal(Placed(1))
        await app.signal(Placed(2))
        unclaimed = await app.signal(Cancelled(3))
        await clock.advance(100)
    said = [(record.getMessage().split()[0], *fields_of(record)[1:]) for record in records()]
    assert ("handler", "Placed", "mail", 1, "default") in said  # rejected, and has been running
    assert ("unclaimed:", "Cancelled", None, 1, "default") in said
    assert unclaimed in {record.dawdle_event_id for record in records()}
    assert {name for name, *_ in said} == {"handler", "dead-lettered", "unclaimed:"}


async def test_what_the_queue_refuses_says_of_which_event(registry, clock, records):
    class Away(Memory):
        async def ack(self, receipts):
            raise BackendError("no such receipt", kind="refused")

        async def send(self, batch):
            if any(b"dawdleowed" in each.body for each in batch):
                return [Fault("throttled", "slow down")] * len(batch)
            return await super().send(batch)

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        if event.number:
            raise ConnectionError

    async with Dawdle(Away(clock=clock), registry=registry, clock=clock, grace=1) as app:
        done, failed = await app.signal_many([Placed(0), Placed(1)])
        await clock.advance(1)
    texts = {record.getMessage()[:26]: fields_of(record) for record in records()}
    assert texts["could not settle Placed " + done[:2]] == (done, "Placed", None, 1, "default")
    assert texts["could not store a copy of "][:3] == (failed, "Placed", "mail")


async def test_a_retry_on_an_ordered_queue_has_its_own_attempt(registry, clock, records):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=3, initial=100, jitter=0))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with Dawdle(Memory(clock=clock, ordered=True), registry=registry, clock=clock) as app:
        await app.signal(Placed(1), group="g")
        await clock.advance(1000)
    assert [record.dawdle_attempt for record in records()] == [1, 2, 3, 3]


async def test_a_hook_that_fails_says_of_which_event(registry, queue, clock, records):
    def broken(moment):
        raise ValueError

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None: ...

    async with Dawdle(queue, registry=registry, clock=clock, hooks=[broken]) as app:
        event_id = await app.signal(Placed(1))
        await clock.advance(1)
    found = {record.getMessage().partition(" an error on ")[2].split(":")[0]: fields_of(record) for record in records()}
    assert found["HandlerStarted"] == (event_id, "Placed", "mail", 1, "default")
    assert found["Signaled"] == (event_id, "Placed", None, None, "default")
    assert "Received" not in found


async def test_a_field_of_a_stranger_s_message_is_one_short_line(registry, queue, clock, records):
    forged = "x\n2026-01-01 CRITICAL you are hacked " + "y" * 1000
    body = {"specversion": "1.0", "id": forged, "source": "/s", "type": forged}
    async with Dawdle(queue, registry=registry, clock=clock, start_listener=False) as app:

        @registry.on_event(Placed)
        async def mail(event: Placed) -> None: ...

        await queue.send([dawdle.abc.Outgoing(msgspec.json.encode(body))])
        await app.start_listener()
        await clock.advance(1)
    assert records() != []
    for record in records():
        assert record.dawdle_event_id.isprintable()
        assert len(record.dawdle_event_id) <= 202


async def test_a_message_that_is_no_event_says_at_least_its_queue(registry, queue, clock, records):
    @registry.on_event(Placed)
    async def mail(event: Placed) -> None: ...

    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await queue.send([dawdle.abc.Outgoing(b"no event")])
        await app.idle()
    (dead,) = records()
    assert fields_of(dead) == (None, None, None, None, "default")


async def given_up(running, registry, clock, formatter):
    """Return the id of an event that is given up, and what a formatter makes of each record of it, read as JSON."""
    lines = []

    class Written(logging.Handler):
        def emit(self, record):
            lines.append(json.loads(self.format(record)))

    handler = Written()
    handler.setFormatter(formatter)
    logging.getLogger("dawdle").addHandler(handler)

    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=1))
    async def mail(event: Placed) -> None:
        raise ConnectionError("away")

    try:
        async with running() as app:
            event_id = await app.signal(Placed(1))
            await clock.advance(1)
    finally:
        logging.getLogger("dawdle").removeHandler(handler)
    return event_id, lines


async def test_a_json_formatter_shows_the_fields(running, registry, clock):
    from pythonjsonlogger.json import JsonFormatter

    formatter = JsonFormatter("%(levelname)s %(name)s %(message)s")
    event_id, (failed, dead) = await given_up(running, registry, clock, formatter)
    assert failed["exc_info"].endswith("ConnectionError: away")
    assert dead == {
        "levelname": "ERROR",
        "name": "dawdle._flow.settlement_reports",
        "message": f"dead-lettered Placed {event_id} for mail: ConnectionError: away",
        "dawdle_event_id": event_id,
        "dawdle_event_type": "Placed",
        "dawdle_handler": "mail",
        "dawdle_attempt": 1,
        "dawdle_queue": "default",
    }


async def test_structlog_shows_the_fields(running, registry, clock):
    import structlog

    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
    )
    event_id, (_, dead) = await given_up(running, registry, clock, formatter)
    assert dead == {
        "event": f"dead-lettered Placed {event_id} for mail: ConnectionError: away",
        "level": "error",
        "dawdle_event_id": event_id,
        "dawdle_event_type": "Placed",
        "dawdle_handler": "mail",
        "dawdle_attempt": 1,
        "dawdle_queue": "default",
    }
