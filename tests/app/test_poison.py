"""What cannot be read, or is not for this node: kept for another node, or dead-lettered with the reason."""

import asyncio
import copy
import logging

import msgspec
import pytest

import dawdle
from dawdle import Context, Retry
from dawdle.abc import Limits, Outgoing
from dawdle.backends._open_guard import OpenGuard
from dawdle.backends.memory import Memory
from dawdle.hooks import DeadLettered, Forwarded
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Shared(Memory):
    """A queue that other nodes receive from as well."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits: Limits = msgspec.structs.replace(self.limits, shared=True, max_delay=900)

    def of_another_node(self):
        """Return another object on the same queue: one object serves one app at a time."""
        other = copy.copy(self)
        other._dead = copy.copy(self._dead)
        other._open_guard = other._dead._open_guard = OpenGuard()
        return other


def foreign(**attributes):
    return msgspec.json.encode(
        {"specversion": "1.0", "id": "f-1", "source": "/elsewhere", "type": "Placed", **attributes}
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not a CloudEvent 1.0 in JSON"),
        (b"\xff\x00garbage", "not a CloudEvent 1.0 in JSON"),
        (b'{"hello": "world"}', "missing required field `specversion`"),
        (b"[" * 100_000, "nested too deep: 100,000 objects and arrays"),
        (foreign(specversion="0.3"), "specversion"),
        (foreign(dawdleattempt="many"), "dawdleattempt"),
        (foreign(dawdledue="yesterday"), "dawdledue"),
    ],
)
async def test_a_body_that_is_no_event_is_dead_lettered_whole_with_the_reason(
    running, registry, queue, letters, body, reason
):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with running() as app:
        await queue.send([Outgoing(body)])
        await app.idle()
        await app.signal(Placed())
        await app.idle()
    (letter,) = letters()
    assert letter["type"] == "dawdle.undecodable"
    assert reason in letter["dawdleerror"]
    import base64

    assert base64.b64decode(letter["data_base64"]) == body
    assert queue.messages() == []


async def test_data_of_the_wrong_type_is_dead_lettered_with_the_reason_and_the_good_run(
    running, registry, queue, letters
):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    async with running() as app:
        await queue.send([Outgoing(foreign(data={"number": "seven"})), Outgoing(foreign(data={"number": 8}))])
        await app.idle()
    assert seen == [Placed(8)]
    (letter,) = letters()
    assert letter["data"] == {"number": "seven"}
    assert "the data does not fit Placed: Expected `int`, got `str` - at `$.number`" in letter["dawdleerror"]


async def test_an_undecodable_body_without_a_dead_letter_queue_is_kept(running, registry, clock):
    @registry.on_event(Placed)
    async def handler(event): ...

    queue = Memory(clock=clock, dead_letters=False)
    async with running(queue) as app:
        await queue.send([Outgoing(b"garbage")])
        await clock.advance(5000)
        assert queue.messages() == [b"garbage"]
        await app.idle()


async def test_a_foreign_event_is_handled_with_its_attributes_as_headers(running, registry, queue):
    seen = []

    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        seen.append((event, ctx.headers, ctx.signaled_at))

    async with running() as app:
        await queue.send(
            [Outgoing(foreign(data={"number": 7}, subject="orders/7", sequence=12, datacontenttype="application/json"))]
        )
        await app.idle()
    assert seen == [(Placed(7), {"subject": "orders/7", "sequence": "12"}, None)]


async def test_what_another_producer_writes_in_its_own_way_runs_and_is_retried(running, registry, queue, clock):
    seen = []

    @registry.on_event(Placed, retry=Retry(initial=1, jitter=0))
    async def handler(event, ctx: Context):
        seen.append((event, ctx.signaled_at, ctx.headers, ctx.attempt))
        if ctx.attempt == 1:
            raise ValueError

    async with running() as app:
        await queue.send([Outgoing(b"\xef\xbb\xbf\n" + foreign(data={"number": 7}, time="yesterday", subject="x"))])
        await app.idle()
        await clock.advance(1)
        await app.idle()
    assert seen == [(Placed(7), None, {"subject": "x"}, attempt) for attempt in (1, 2)]


async def test_unknown_attributes_survive_a_retry(running, registry, queue, clock):
    @registry.on_event(Placed, name="fails")
    async def fails(event):
        raise ValueError

    extra = {"tracestate": "a=1", "sampled": True, "hops": 3}
    async with running() as app:
        await queue.send([Outgoing(foreign(data={"number": 7}, **extra))])
        await app.idle()
        (copy,) = [msgspec.json.decode(body) for body in queue.messages()]
    assert {name: copy[name] for name in extra} == extra


async def test_memory_alone_acks_what_it_has_no_handler_for_with_a_warning(running, registry, queue, caplog):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with running() as app:
        await queue.send([Outgoing(foreign(type="Unheard"))])
        await app.idle()
    assert queue.messages() == []
    assert ": no node knows an event type 'Unheard', and a queue in memory has no other consumer" in caplog.text


async def test_an_event_that_this_node_does_not_know_is_handled_by_another(running, registry, clock):
    seen = []
    queue = Shared(clock=clock)
    new = dawdle.Registry()

    @registry.on_event(Placed)
    async def old_handler(event): ...

    News = msgspec.defstruct("News", [("number", int)])

    @new.on_event(News)
    async def new_handler(event):
        seen.append((event.number, clock.monotonic()))

    async with running(queue):
        await queue.send([Outgoing(foreign(type="News", data={"number": number})) for number in range(20)])
        await clock.advance(100)
        assert len(queue.messages()) == 20
        async with running(queue.of_another_node(), registry=new):
            await clock.advance(40_000)
            assert sorted(number for number, _ in seen) == list(range(20))
            assert queue.messages() == []


async def test_an_unclaimed_event_comes_back_ever_more_rarely_and_is_given_up_after_its_time(
    running, registry, clock, moments
):
    queue = Shared(clock=clock)

    @registry.on_event(Placed)
    async def handler(event): ...

    async with running(queue, unclaimed=86400):
        await queue.send([Outgoing(foreign(type="Unheard"))])
        await clock.advance(86400 + 901)
    delays = [moment.delay for moment in moments if isinstance(moment, Forwarded)]
    assert 0.5 <= delays[0] <= 1.0
    assert 450 <= min(delays[-50:]) <= max(delays[-50:]) <= 900
    assert len(delays) < 240
    (given_up,) = [moment for moment in moments if isinstance(moment, DeadLettered)]
    assert given_up.reason == "no node knows an event type 'Unheard', for 86400 s"
    assert queue.messages() == []


async def test_a_retry_for_a_handler_that_this_node_lacks_waits_for_one_that_has_it(running, registry, clock):
    runs = []
    queue = Shared(clock=clock)
    other = dawdle.Registry()

    @registry.on_event(Placed, name="same")
    async def handler(event): ...

    @other.on_event(Placed, name="renamed", aliases=("gone",))
    async def owed(event, ctx: Context):
        runs.append((ctx.handler, ctx.attempt))

    async with running(queue):
        await queue.send([Outgoing(foreign(data={"number": 1}, dawdleowed="gone", dawdleattempt=3))])
        await clock.advance(10)
        async with running(queue.of_another_node(), registry=other):
            await clock.advance(100)
    assert runs == [("renamed", 3)]


async def test_an_event_that_says_drop_is_acked_where_nobody_wants_it(running, registry, clock):
    @dawdle.event("test.heartbeat", unclaimed="drop")
    class Heartbeat(msgspec.Struct): ...

    @registry.on_event(Placed)
    async def handler(event): ...

    queue = Shared(clock=clock)
    async with running(queue) as app:
        await app.signal(Heartbeat())
        await app.idle()
        assert queue.messages() == []


async def test_a_codec_that_this_node_lacks_leaves_the_event_to_another(running, registry, clock):
    queue = Shared(clock=clock)

    @registry.on_event(Placed)
    async def handler(event): ...

    async with running(queue):
        await queue.send([Outgoing(foreign(datacontenttype="application/avro", data_base64="AAAA"))])
        await clock.advance(5)
        assert len(queue.messages()) == 1
        assert queue.dead_letters.messages() == []


async def test_messagepack_travels_and_every_node_reads_it(running, registry, queue):
    seen = []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event)

    async with running(codec=dawdle.MessagePack()) as app:
        await app.signal(Placed(7))
        (body,) = queue.messages()
        assert msgspec.json.decode(body)["datacontenttype"] == "application/msgpack"
        await app.idle()
    async with running() as app:
        await queue.send([Outgoing(body)])
        await app.idle()
    assert seen == [Placed(7), Placed(7)]


async def test_a_handler_that_raises_an_error_without_a_readable_message_is_still_settled(running, registry, letters):
    class Unreadable(Exception):
        def __str__(self):
            raise ZeroDivisionError

    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def handler(event):
        raise Unreadable

    async with running() as app:
        await app.signal(Placed())
        await app.idle()
    assert letters()[0]["dawdleerror"].endswith("Unreadable: (its message cannot be shown: ZeroDivisionError)")


async def test_an_endless_error_message_is_cut(running, registry, letters):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def handler(event):
        raise ValueError("ü" * 10**6)

    async with running() as app:
        await app.signal(Placed())
        await app.idle()
    assert 1000 < len(letters()[0]["dawdleerror"].encode()) <= 1024
    await asyncio.sleep(0)


async def test_idle_returns_after_events_that_nobody_wants(running, registry):
    @registry.on_event(Placed)
    async def handler(event): ...

    Unwanted = msgspec.defstruct("Unwanted", [])
    async with running() as app:
        await app.signal(Placed())
        await app.signal(Unwanted())
        async with asyncio.timeout(60):
            await app.idle()


class Raising:
    """A codec of the user's own, with a mistake in it, which reads each event once."""

    content_type = "application/x-mine"

    def __init__(self):
        self.reads = 0

    def encode(self, event):
        if event.number == 0:
            raise KeyError("no such field")
        return b"data"

    def decode(self, data, kind):
        self.reads += 1
        if self.reads > 1:
            raise TypeError("not that")
        return kind(1)


async def test_a_codec_that_raises_is_an_event_error_at_signal_and_a_dead_letter_at_a_handler(
    running, registry, letters
):
    @registry.on_event(Placed)
    async def handler(event): ...

    async with running(codec=Raising()) as app:
        with pytest.raises(dawdle.EventError, match="this Placed cannot be encoded: 'no such field'"):
            await app.signal(Placed(0))
        await app.signal(Placed(1))
        await app.idle()
    assert "the data does not fit Placed: not that" in letters()[0]["dawdleerror"]


async def test_a_strangers_names_are_told_in_one_line_and_not_at_any_length(running, registry, queue, caplog):
    @registry.on_event(Placed, retry=Retry(max_attempts=1))
    async def handler(event):
        raise ValueError

    forged = "x\n2026-11-24 CRITICAL root: all is lost\u2028" + "y" * 100_000
    async with running() as app:
        for attributes in ({"id": forged}, {"type": forged}, {"dawdleowed": forged}, {"data": 7, "dawdleowed": forged}):
            await queue.send([Outgoing(foreign(**{"data": {"number": 1}, **attributes}))])
        await app.idle()
    assert len(caplog.records) >= 4
    for record in caplog.records:
        assert len(record.getMessage()) < 1000
        assert record.getMessage().isprintable()


FORGED = "x\n2026-01-01 CRITICAL root: you are hacked \x1b[31m\u2028\u202e"


@pytest.mark.parametrize("shared", [True, False])
async def test_no_line_repr_hook_or_letter_shows_what_a_stranger_would_have_it_show(
    running, registry, clock, caplog, moments, shared
):
    contexts = []

    @registry.on_event(Placed, name="fails", retry=Retry(max_attempts=2, initial=1))
    async def fails(event, ctx: Context):
        contexts.append(repr(ctx))
        raise ValueError(f"no such customer: {ctx.headers['subject']}" * 100)

    @registry.on_event(Placed, name="rejects")
    async def rejects(event, ctx: Context):
        raise dawdle.Reject(ctx.headers["subject"] * 100)

    queue = (Shared if shared else Memory)(clock=clock)
    strangers = [
        {"type": FORGED},
        {"id": FORGED},
        {"dawdleowed": FORGED},
        {"datacontenttype": FORGED},
        {"dawdleerror": FORGED * 3000, "dawdledead": "2025-01-01T00:00:00Z"},
        {"source": FORGED, "data": {"number": FORGED}},
        {"dawdledue": FORGED},
        {"data": {FORGED: [FORGED], "number": {FORGED: 1}}},
    ]
    async with running(queue, unclaimed=2) as app:
        await queue.send([Outgoing(foreign(**{"subject": FORGED, **each})) for each in strangers])
        await queue.dead_letters.send([Outgoing(foreign(**each)) for each in strangers])
        await clock.advance(100)
        letters = [letter async for letter in app.dead_letters()]
        reasons = app.health().reasons
    format_ = logging.Formatter("%(message)s").format
    for line in "\n".join(map(format_, caplog.records)).split("\n"):
        assert line.isprintable()
        assert not line.startswith("2026-01-01")
        assert len(line) < 5000
    assert len(letters) > len(strangers)
    errors = [getattr(moment, "error", None) or getattr(moment, "reason", None) or "" for moment in moments]
    for text in [letter.error for letter in letters] + errors:
        assert not set("\x1b\u2028\u202e") & set(text)
        assert len(text.encode()) <= 1100
    for text in [*contexts, *map(repr, [*letters, *moments]), *reasons]:
        assert text.isprintable()
