"""What a handler writes into the log itself: the fields of its event, in threads and tasks too, and nowhere else."""

import asyncio
import json
import logging
import logging.config
import logging.handlers
import queue as queues
from contextlib import asynccontextmanager, contextmanager

import msgspec
import pytest

import dawdle
from dawdle import Context, Dawdle, Retry
from dawdle.logs import EventFields, event_fields
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

log = logging.getLogger("shop.mail")


@contextmanager
def written(handler):
    """Write to a log handler in the block, and yield what it gets."""
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class Kept(logging.Handler):
    def __init__(self, *filters):
        super().__init__()
        self.records = []
        for each in filters:
            self.addFilter(each)

    def emit(self, record):
        self.records.append(record)

    def of(self, name):
        return [record for record in self.records if record.name == name]


def fields_of(record):
    names = ("event_id", "event_type", "handler", "attempt", "queue")
    return tuple(getattr(record, f"dawdle_{name}", "left out") for name in names)


NONE = ("left out",) * 5


async def test_each_record_of_a_handler_has_the_fields_and_no_other_has(running, registry, clock):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=1))
    async def mail(event: Placed) -> None:
        log.info("sending")
        if event.number == 1:
            raise ConnectionError

    kept = Kept(EventFields())
    with written(kept):
        log.info("before")
        async with running() as app:
            event_id = await app.signal(Placed(1))
            log.info("signaled")
            await clock.advance(10)
    said = [(record.getMessage(), fields_of(record)) for record in kept.of("shop.mail")]
    assert said == [
        ("before", NONE),
        ("signaled", NONE),
        ("sending", (event_id, "Placed", "mail", 1, "default")),
        ("sending", (event_id, "Placed", "mail", 2, "default")),
    ]
    (dead,) = kept.of("dawdle._flow.settlement_reports")
    assert fields_of(dead) == (event_id, "Placed", "mail", 2, "default"), "dawdle's own keep theirs"


async def test_in_a_thread_a_task_and_a_function_called_far_below_it_is_the_same_context(running, registry, clock):
    seen = []

    def deep():
        seen.append(dawdle.current_context())

    @registry.on_event(Placed, name="threaded")
    def threaded(event: Placed, ctx: Context) -> None:
        seen.append(ctx)
        deep()

    @registry.on_event(Placed, name="tasks")
    async def tasks(event: Placed) -> None:
        deep()
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(deep))

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert {each.handler for each in seen} == {"threaded", "tasks"}
    assert len({id(each) for each in seen}) == 2, "one context for each run"
    assert len(seen) == 4


async def test_it_finds_what_an_around_provides(running, registry, clock):
    seen = []

    @asynccontextmanager
    async def unit_of_work(ctx):
        seen.append(dawdle.current_context() is ctx)
        ctx.provide("session")
        yield

    @registry.on_event(Placed, name="mail", around=unit_of_work)
    async def mail(event: Placed) -> None:
        seen.append(dawdle.current_context().state(str))

    async with running(retry=Retry(max_attempts=7)) as app:
        await app.signal(Placed(1))
        await app.idle()
    assert seen == [True, "session"]


async def test_a_context_that_is_only_asked_for_says_what_one_handed_in_says(running, registry):
    seen = []

    @registry.on_event(Placed, name="a")
    async def asks(event: Placed) -> None:
        seen.append(dawdle.current_context())

    @registry.on_event(Placed, name="b", retry=Retry(max_attempts=3))
    async def gets(event: Placed, ctx: Context) -> None:
        seen.append(ctx)

    @asynccontextmanager
    async def lifespan(app):
        yield "state"

    async with running(retry=Retry(max_attempts=7), lifespan=lifespan) as app:
        await app.signal(Placed(1), headers={"tenant": "t-1"})
        await app.idle()
    asked, given = sorted(seen, key=lambda each: each.handler)
    assert (asked.max_attempts, given.max_attempts) == (7, 3)
    assert asked.state(str) == given.state(str) == "state"
    assert asked.headers == given.headers == {"tenant": "t-1"}
    for name in ("event_id", "event_type", "queue", "attempt", "signaled_at"):
        assert getattr(asked, name) == getattr(given, name)


async def test_outside_of_a_handler_there_is_none(running, registry):
    left = []

    @registry.on_event(Placed)
    async def mail(event: Placed) -> None:
        left.append(asyncio.create_task(later()))

    async def later():
        await go_on.wait()
        return dawdle.current_context(), event_fields()

    go_on = asyncio.Event()
    assert dawdle.current_context() is None
    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        go_on.set()
        assert await left[0] == (None, {}), "the handler has ended"


async def test_a_default_serves_a_text_format(running, registry):
    kept = Kept(EventFields(default="-"))
    kept.setFormatter(logging.Formatter("[%(dawdle_event_id)s %(dawdle_handler)s] %(message)s"))

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        log.info("sending")

    with written(kept):
        log.info("before")
        async with running() as app:
            event_id = await app.signal(Placed(1))
            await app.idle()
    assert [kept.format(record) for record in kept.of("shop.mail")] == ["[- -] before", f"[{event_id} mail] sending"]


async def test_it_is_named_in_a_dict_config(running, registry, tmp_path):
    path = tmp_path / "app.log"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"event": {"()": "dawdle.logs.EventFields"}},
            "formatters": {"json": {"()": "pythonjsonlogger.json.JsonFormatter", "format": "%(message)s"}},
            "handlers": {
                "file": {
                    "class": "logging.FileHandler",
                    "filename": str(path),
                    "filters": ["event"],
                    "formatter": "json",
                }
            },
            "loggers": {"shop.json": {"level": "INFO", "handlers": ["file"]}},
        }
    )

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        logging.getLogger("shop.json").info("sending", extra={"order": "o-1"})

    async with running() as app:
        event_id = await app.signal(Placed(1))
        await app.idle()
    logger = logging.getLogger("shop.json")
    for handler in logger.handlers:
        handler.close()
    logger.handlers.clear()
    assert json.loads(path.read_text()) == {
        "message": "sending",
        "order": "o-1",
        "dawdle_event_id": event_id,
        "dawdle_event_type": "Placed",
        "dawdle_handler": "mail",
        "dawdle_attempt": 1,
        "dawdle_queue": "default",
    }


async def test_on_the_handler_that_queues_records_it_is_asked_where_they_are_written(running, registry):
    records = queues.SimpleQueue()
    queued = logging.handlers.QueueHandler(records)
    queued.addFilter(EventFields())

    @registry.on_event(Placed, name="mail")
    def mail(event: Placed) -> None:
        log.info("sending")

    with written(queued):
        async with running() as app:
            event_id = await app.signal(Placed(1))
            await app.idle()
    found = []
    while not records.empty():
        found.append(records.get())
    assert [fields_of(record)[0] for record in found if record.name == "shop.mail"] == [event_id]


async def test_structlog_takes_the_fields_by_a_processor(running, registry):
    import structlog

    lines = []

    def add_event(logger, name, event_dict):
        return {**event_fields(), **event_dict}

    logger = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[add_event, lambda logger, name, event_dict: lines.append(event_dict) or "done"],
    )

    @registry.on_event(Placed, name="mail")
    async def mail(event: Placed) -> None:
        logger.info("sending", order="o-1")

    logger.info("before")
    async with running() as app:
        event_id = await app.signal(Placed(1))
        await app.idle()
    assert lines[0] == {"event": "before"}
    assert lines[1] == {
        "event": "sending",
        "order": "o-1",
        "dawdle_event_id": event_id,
        "dawdle_event_type": "Placed",
        "dawdle_handler": "mail",
        "dawdle_attempt": 1,
        "dawdle_queue": "default",
    }


async def test_a_field_of_a_foreign_event_is_one_short_line(registry, queue, clock):
    seen = []

    @registry.on_event(Placed)
    async def mail(event: Placed) -> None:
        seen.append(event_fields())

    body = {"specversion": "1.0", "id": "x\n" * 500, "source": "/s", "type": "Placed", "data": {}}
    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await queue.send([dawdle.abc.Outgoing(msgspec.json.encode(body))])
        await app.idle()
    (fields,) = seen
    assert fields["dawdle_event_id"].startswith("x\\nx\\n")
    assert fields["dawdle_event_id"].isprintable()
    assert len(fields["dawdle_event_id"]) < 500
