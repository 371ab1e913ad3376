"""Whatever stands here is right, and passes mypy --strict and pyright strict. Checked, never run."""

# pyright: strict

import asyncio
import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar, assert_never, assert_type

import msgspec
import pytest
from aiohttp import web as aiohttp_web
from fastapi import FastAPI, Request, WebSocket
from litestar import Litestar
from starlette.applications import Starlette
from starlette.routing import Mount

import dawdle
import dawdle.aiohttp
import dawdle.asgi
import dawdle.fastapi
from dawdle import aws_lambda, from_thread, hooks, logs, telemetry
from dawdle.abc import (
    Aged,
    Backend,
    Browsable,
    Clock,
    Codec,
    Countable,
    Counts,
    Delivery,
    Described,
    Fault,
    Identified,
    Outgoing,
    Pingable,
    ReleaseEntry,
    Stored,
    SystemClock,
    Transactional,
)
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.errors import FaultKind
from dawdle.events import version_of
from dawdle.testing import (
    AppOptions,
    HandledEvent,
    ManualClock,
    SignaledEvent,
    Signals,
    TestApp,
    assert_dead_lettered,
    assert_handled,
    assert_not_signaled,
    assert_signaled,
    context,
    under_test,
)
from dawdle.testing.contract import BackendContract
from dawdle.testing.sqs import SQSServer, serve
from dawdle.testing.sqs_queue import SQSTestQueue

T = TypeVar("T")


class Base:
    pass


class A(Base, msgspec.Struct, frozen=True):
    a: int = 0


class B(msgspec.Struct):
    pass


@dataclass
class C(Base):
    c: str = ""


class D(msgspec.Struct):
    pass


class E(msgspec.Struct):
    pass


class F(msgspec.Struct):
    pass


@dataclass
class Database:
    name: str


# on_event, bare: the handler keeps its type, whatever it is


@dawdle.on_event
async def bare(event: A) -> int:
    return event.a


@dawdle.on_event
async def bare_union(event: A | B | None, ctx: dawdle.Context) -> None: ...


@dawdle.on_event
def bare_sync(event: A, limit: int = 5) -> str:
    return str(event)


async def call_bare() -> None:
    assert_type(await bare(A()), int)
    assert_type(await bare(event=A()), int)
    assert_type(bare_sync(A(), limit=3), str)


kept: Callable[[A], Coroutine[Any, Any, int]] = bare


# on_event without types: the handler keeps its type as well


@dawdle.on_event()
async def every(event: object) -> None: ...


@dawdle.on_event(retry=dawdle.Retry(), name="by annotation")
async def by_annotation(event: A, ctx: dawdle.Context) -> int:
    return event.a


@dawdle.on_event(timeout=5)
def by_union(event: A | B) -> str:
    return str(event)


# on_event, with one type to six


@dawdle.on_event(A)
async def of_one(event: A) -> int:
    return event.a


@dawdle.on_event(A, B)
async def of_two(event: A | B) -> None: ...


@dawdle.on_event(A, B, C)
async def of_three(event: A | B | C, ctx: dawdle.Context) -> None: ...


@dawdle.on_event(A, B, C, D)
async def of_four(event: A | B | C | D) -> None: ...


@dawdle.on_event(A, B, C, D, E)
async def of_five(event: A | B | C | D | E) -> None: ...


@dawdle.on_event(A, B, C, D, E, F)
async def of_six(event: A | B | C | D | E | F) -> None: ...


@dawdle.on_event(A, C)
async def of_a_base(event: Base) -> None: ...


@dawdle.on_event(Base)
async def takes_subclasses(event: Base) -> None: ...


@dawdle.on_event(A, B)
async def of_anything(event: object, ctx: dawdle.Context) -> None: ...


@dawdle.on_event(A, B)
def sync(event: A | B, ctx: dawdle.Context) -> str:
    return ctx.event_id


@dawdle.on_event(A, B)
async def of_more_than_it_asks_for(event: A | B | C) -> None: ...


async def of_two_calls(event: A | B) -> None: ...


dawdle.on_event(A)(of_two_calls)
dawdle.on_event(B)(of_two_calls)


@dawdle.on_event(A)
@dawdle.on_event(B)
async def stacked(event: A | B) -> int:
    return 1


@dawdle.on_event(A, timeout=5)
@dawdle.on_event(B, C)
@dawdle.on_event(D)
def stacked_thrice(event: A | B | C | D, ctx: dawdle.Context) -> str:
    return ctx.event_id


@dawdle.on_event(A)
@dawdle.on_event(retry=dawdle.Retry())
@dawdle.on_event
async def stacked_every_way(event: A) -> None: ...


@dawdle.on_event(
    exclude=(A, B),
    name="audit",
    aliases=["once.audit"],
    retry=dawdle.Retry(max_attempts=8),
    timeout=30,
    concurrency=4,
    queue="video",
)
async def with_options(event: object) -> None: ...


@dawdle.on_event(A, timeout=0.5, name="one")
async def with_types_and_options(event: A, ctx: dawdle.Context) -> None: ...


async def call_handlers(ctx: dawdle.Context) -> None:
    assert_type(await of_one(A()), int)
    assert_type(await of_two(B()), None)
    assert_type(await of_three(C(), ctx), None)
    assert_type(sync(A(), ctx), str)
    assert_type(await stacked(A()), int)
    assert_type(await stacked(B()), int)
    assert_type(stacked_thrice(D(), ctx), str)
    await stacked_every_way(A())
    assert_type(await by_annotation(A(), ctx=ctx), int)
    assert_type(by_union(event=B()), str)
    await every(5)
    await of_six(F())


# Registries


registry = dawdle.Registry()


@registry.on_event
async def in_registry(event: A) -> None: ...


@registry.on_event(A, B, name="both")
async def in_registry_both(event: A | B) -> None: ...


def build(other: dawdle.Registry) -> None:
    registry.include(other)
    registry.clear()
    dawdle.Dawdle(registry=registry)


# Around a handler


@asynccontextmanager
async def unit_of_work(ctx: dawdle.Context) -> AsyncGenerator[None, None]:
    ctx.provide(Database("main"))
    assert_type(ctx.state(Database), Database)
    yield


@asynccontextmanager
async def log_context(ctx: object) -> AsyncGenerator[str, None]:
    yield "what it yields is not used"


class Scope:
    def __init__(self, ctx: dawdle.Context) -> None:
        self.ctx = ctx

    async def __aenter__(self) -> Self:
        self.ctx.provide(self)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None: ...


class Container:
    def scope(self, ctx: dawdle.Context) -> Scope:
        return Scope(ctx)


@dawdle.on_event(A, around=unit_of_work)
async def in_a_unit_of_work(event: A, ctx: dawdle.Context) -> str:
    assert_type(ctx.state(Scope), Scope)
    return ctx.state(Database).name


@dawdle.on_event(around=[log_context, unit_of_work, Scope, Container().scope])
def in_several(event: A | B) -> None: ...


@dawdle.Registry(around=(unit_of_work, Scope)).on_event
async def in_a_registry(event: A) -> None: ...


request_id: ContextVar[str] = ContextVar("request_id")
tenant_id: ContextVar[str | None] = ContextVar("tenant_id", default=None)
dawdle.Registry(around=Scope)
dawdle.Dawdle(around=unit_of_work, carry={"requestid": request_id})
dawdle.Dawdle(queues={"default": Memory()})
dawdle.Dawdle(
    queues={"default": Memory(), "video": SQLite("app.db", name="video"), "audit": SQS("https://sqs/1/audit")},
    routes={A: "video", B: ("default", "audit")},
    listen=("video",),
    concurrency={"video": 2},
)
dawdle.Dawdle(Memory(), listen=(), concurrency=10)
dawdle.Dawdle(queues={"accounts": Memory(ordered=True), "audit": SQLite("app.db", ordered=True)}, listen=("accounts",))
QUEUES: Mapping[str, Backend] = {"default": Memory()}
dawdle.Dawdle(queues=QUEUES, routes={A: ["default"]}, listen={"default"})
dawdle.Dawdle(around=[log_context, Scope], carry={"requestid": request_id, "tenant": tenant_id})


async def call_in_a_unit_of_work(app: dawdle.Dawdle, ctx: dawdle.Context) -> None:
    assert_type(await in_a_unit_of_work(A(), ctx), str)
    app.register(in_a_registry, around=(Scope,))


# Events


@dawdle.event
class Declared(msgspec.Struct):
    a: int


@dawdle.event("orders.placed", aliases=("order.placed",), unclaimed="drop", expires=60, expired="dead")
class Placed(msgspec.Struct):
    order_id: str


class PlacedOne(TypedDict):
    total: int


def one_to_two(data: PlacedOne) -> dict[str, int]:
    return {"cents": data["total"] * 100}


def two_to_three(data: dict[str, Any]) -> Mapping[str, object]:
    data["currency"] = "EUR"
    return data


@dawdle.event("orders.versioned", version=3, upcasters={1: one_to_two, 2: two_to_three})
class Versioned(msgspec.Struct):
    cents: int
    currency: str


assert_type(version_of(Versioned), int)


@dawdle.event(aliases=["once"])
@dataclass
class Cancelled:
    order_id: str


assert_type(Placed("o-1").order_id, str)
assert_type(Declared(a=1), Declared)
assert_type(Cancelled("o-1"), Cancelled)
placed: type[Placed] = Placed


# Signals


async def signals(app: dawdle.Dawdle, events: list[A | B]) -> None:
    assert_type(await dawdle.signal(A()), str)
    assert_type(await app.signal(A(), delay=90), str)
    await dawdle.signal(C(), delay=0.5, headers={"tenant": "t-1"}, id="e-1", group="g", queue="default")
    await dawdle.signal(C(), expires=timedelta(minutes=1), source="/shop")
    await dawdle.signal_many([C()], expires=60, source="/shop")
    await dawdle.signal(C(), queue=("default", "video"))
    await app.signal_many([C()], queue=["video"])
    await dawdle.signal(A(), delay=timedelta(hours=1))
    await dawdle.signal(A(), at=datetime.now(UTC))
    await dawdle.signal(A(), direct=True)
    assert_type(await dawdle.signal_many(events), list[str])
    assert_type(await app.signal_many((A(), B()), delay=5, group="g"), list[str])
    assert_type(await app.signal_many(A() for _ in range(3)), list[str])
    assert_type(await app.signal_many({1: A(), 2: A()}.values()), list[str])
    assert_type(dawdle.current(), dawdle.Dawdle)
    assert_type(dawdle.discover("shop.events", "shop.audit"), list[str])


def signals_from_a_thread(app: dawdle.Dawdle, events: list[A | B]) -> None:
    assert_type(dawdle.from_thread.signal(A()), str)
    assert_type(from_thread.signal(C(), delay=timedelta(hours=1), app=app), str)
    from_thread.signal(C(), delay=0.5, headers={"tenant": "t-1"}, id="e-1", group="g", queue="default")
    from_thread.signal(A(), at=datetime.now(UTC), app=None)
    from_thread.signal(A(), direct=True)
    assert_type(from_thread.signal_many(events), list[str])
    assert_type(dawdle.from_thread.signal_many((A(), B()), delay=5, group="g", app=app), list[str])
    assert_type(from_thread.signal_many(A() for _ in range(3)), list[str])


# Inside a handler


async def handle(event: object, ctx: dawdle.Context) -> None:
    assert_type(ctx.state(Database), Database)
    assert_type(ctx.state(Database).name, str)
    assert_type(ctx.event_id, str)
    assert_type(ctx.event_type, str)
    assert_type(ctx.handler, str)
    assert_type(ctx.queue, str)
    assert_type(ctx.attempt, int)
    assert_type(ctx.max_attempts, int)
    assert_type(ctx.signaled_at, datetime | None)
    assert_type(ctx.headers, Mapping[str, str])
    if ctx.attempt > 1:
        raise dawdle.RetryLater(30)
    raise dawdle.Reject("the account is closed")


def errors(
    too_large: dawdle.EventTooLargeError, failed: dawdle.SignalError, backend: dawdle.BackendError
) -> ValueError | RuntimeError | TypeError:
    assert_type(too_large.size, int)
    assert_type(too_large.limit, int)
    assert_type(failed.stored, tuple[str, ...])
    assert_type(failed.not_stored, tuple[str, ...])
    assert_type(failed.uncertain, tuple[str, ...])
    assert_type(failed.failed, dict[str, Exception])
    assert_type(failed.stored_in, dict[str, tuple[str, ...]])
    assert_type(backend.retryable, bool)
    assert_type(backend.uncertain, bool)
    if failed.stored:
        return dawdle.NoAppError("none")
    if backend.retryable:
        return dawdle.NotAnEventError("int")
    return dawdle.ConfigurationError("wrong")


dawdle.Retry()
dawdle.Retry(initial=timedelta(seconds=5), max_delay=timedelta(hours=1), never=(ValueError, KeyError))
dawdle.Retry(never=[OSError])
assert_type(dawdle.Retry().never, tuple[type[Exception], ...])
dawdle.Dawdle(timeout=timedelta(minutes=5), grace=timedelta(seconds=10), unclaimed=timedelta(days=1))
dawdle.Retry(8, 1, 1.5, 60, 0)
dawdle.Retry(max_attempts=3, initial=0.1, factor=2, max_delay=900, jitter=0.5)


# Log fields

assert_type(dawdle.current_context(), dawdle.Context | None)
assert_type(logs.event_fields(), dict[str, str | int])
logging.getLogger().addFilter(logs.EventFields())
logging.getLogger().addFilter(logs.EventFields(default="-"))


# on_dead_letter


@dawdle.on_dead_letter
async def every_letter(letter: dawdle.DeadLetter) -> None:
    assert_type(letter.event, object | None)


@dawdle.on_dead_letter
async def letters_by_annotation(letter: dawdle.DeadLetter[A]) -> int:
    assert_type(letter.event, A)
    return 1


@dawdle.on_dead_letter(A)
async def letters_of_a(letter: dawdle.DeadLetter[A]) -> None:
    assert_type(letter.event, A)


@dawdle.on_dead_letter(A, B)
async def letters_of_two(letter: dawdle.DeadLetter[A | B]) -> None:
    assert_type(letter.event, A | B)


@dawdle.on_dead_letter(A, B, C, timeout=timedelta(seconds=5))
async def letters_of_three(letter: dawdle.DeadLetter[A | B | C]) -> None: ...


@dawdle.on_dead_letter(A, name="wider")
async def letters_of_more(letter: dawdle.DeadLetter[A | B]) -> None: ...


@dawdle.on_dead_letter(timeout=float("inf"))
async def every_letter_for_long(letter: dawdle.DeadLetter) -> None: ...


@dawdle.Registry().on_dead_letter(D)
async def letters_of_a_registry(letter: dawdle.DeadLetter[D]) -> None: ...


@dawdle.on_dead_letter
async def every_letter_with_context(letter: dawdle.DeadLetter, ctx: dawdle.Context) -> None: ...


@dawdle.on_dead_letter(A)
async def letters_of_a_with_context(letter: dawdle.DeadLetter[A], ctx: dawdle.Context) -> str:
    return f"{letter.event} {ctx.event_id}"


async def letters_in_tests(letter: dawdle.DeadLetter[A]) -> None:
    assert_type(await letters_by_annotation(letter), int)
    assert_type(await letters_of_a(letter), None)
    context = dawdle.current_context()
    assert context is not None
    assert_type(await letters_of_a_with_context(letter, context), str)


# Apps


@asynccontextmanager
async def lifespan(app: dawdle.Dawdle) -> AsyncGenerator[Database, None]:
    yield Database("main")


@asynccontextmanager
async def empty_lifespan(app: object) -> AsyncGenerator[None, None]:
    yield


def watch(moment: hooks.Moment) -> None:
    match moment:
        case hooks.Signaled(event_id=event_id) | hooks.HandlerStarted(event_id=event_id):
            assert_type(event_id, str)
        case hooks.SignalStarted(queues=queues):
            assert_type(queues, tuple[str, ...])
        case hooks.Encoded(seconds=seconds) | hooks.Decoded(seconds=seconds) | hooks.SignaledDirect(seconds=seconds):
            assert_type(seconds, float)
        case hooks.SignalFailed(kind=kind, uncertain=uncertain):
            assert_type(uncertain, bool)
            assert_type(kind, FaultKind | None)
        case hooks.Requested(call=call):
            assert_type(call, hooks.CallName)
        case hooks.HandlerFinished(outcome="failed", error=error):
            assert_type(error, str | None)
        case hooks.HandlerFinished() | hooks.Forwarded() | hooks.DeadLettered() | hooks.Expired():
            assert_type(moment.handler, str | None)
        case hooks.Received() | hooks.ReceiveFailed() | hooks.Settled() | hooks.LeaseLost():
            assert_type(moment.queue, str)
        case hooks.LoopBlocked(handler=handler):
            assert_type(handler, str | None)
        case _:
            assert_never(moment)


def watch_anything(moment: object) -> None: ...


def tenant() -> dict[str, str]:
    return {"tenant": "t-1"}


class Plain:
    """A codec of one's own."""

    content_type = "text/plain"

    def encode(self, event: object) -> bytes:
        return repr(event).encode()

    def decode(self, data: bytes, kind: type[T]) -> T:
        return msgspec.convert(data.decode(), kind)


class Service:
    async def on_placed(self, event: Placed, ctx: dawdle.Context) -> None: ...

    def __call__(self, event: object) -> None: ...


def is_meant(letter: dawdle.DeadLetter) -> bool:
    return isinstance(letter.event, Placed) and letter.handler is not None


def is_meant_of_a(letter: dawdle.DeadLetter[A]) -> bool:
    return letter.event.a > 0


def is_meant_of_either(letter: dawdle.DeadLetter[A | B]) -> bool:
    return isinstance(letter.event, B)


async def apps(clock: Clock) -> None:
    dawdle.Dawdle()
    dawdle.Dawdle(Memory(clock=clock), clock=clock, lifespan=lifespan, hooks=[watch, watch_anything])
    dawdle.Dawdle(
        backend=Memory(),
        start_listener=False,
        concurrency=10,
        retry=dawdle.Retry(),
        grace=5,
        unclaimed=60,
        source="/shop",
        headers={"tenant": "t-1"},
        codec=dawdle.MessagePack(),
        hooks=(watch,),
        lifespan=empty_lifespan,
    )
    dawdle.Dawdle(codec=Plain(), headers=tenant)
    service = Service()
    async with dawdle.Dawdle() as app:
        assert_type(app, dawdle.Dawdle)
        app.register(of_one, A)
        app.register(bare)
        app.register(service.on_placed, Placed, name="placed", retry=dawdle.Retry(3), timeout=5)
        app.register(service, A, B, name="service")
        app.unregister(service.on_placed)
        assert_type(app.handler_count(), int)
        assert_type(app.handler_count(A), int)
        await app.start_listener()
        await app.stop_listener()
        await app.idle()
        async for letter in app.dead_letters(queue="default"):
            assert_type(letter, dawdle.DeadLetter)
            assert_type(letter.event, object | None)
            assert_type(letter.origin, str | None)
            if isinstance(letter.event, A):
                assert_type(letter.event.a, int)
            assert_type(letter.dead_at, datetime | None)
        async with aclosing(app.dead_letters()) as letters:
            assert_type(await anext(letters), dawdle.DeadLetter)
        async for letter_of_a in app.dead_letters(A, older_than=60, where=is_meant_of_a):
            assert_type(letter_of_a, dawdle.DeadLetter[A | None])
            assert_type(letter_of_a.since, datetime | None)
        async for letter_of_two in app.dead_letters(A, B, handler="h", newer_than=timedelta(hours=1)):
            assert_type(letter_of_two.event, A | B | None)
        async for letter in app.dead_letters("a", B, D, where=is_meant, queue="default", foreign=True):
            assert_type(letter, dawdle.DeadLetter)
        async for kept in app.browse(A, queue="audit", since=datetime.now(UTC)):
            assert_type(kept, dawdle.StoredEvent[A | None])
            assert_type(await app.replay(kept, handler="h"), None)
        async for kept_of_two in app.browse(A, B, queue="audit", until=datetime.now(UTC)):
            assert_type(kept_of_two.event, A | B | None)
        async for kept_of_any in app.browse("a", B, queue="audit"):
            assert_type(kept_of_any.event, object | None)
        assert_type(await app.redrive(), int)
        assert_type(await app.redrive(A, where=lambda letter: letter.event.a > 0), int)
        assert_type(await app.redrive(A, where=is_meant_of_a), int)
        assert_type(await app.redrive(A, where=is_meant), int)
        assert_type(await app.redrive(A, B, where=is_meant_of_either), int)
        assert_type(await app.redrive(A, B, D, where=is_meant), int)
        assert_type(await app.redrive(object, foreign=True), int)
        assert_type(await app.purge(A, where=lambda letter: letter.event.a > 0, foreign=True), int)
        assert_type(await app.purge(where=lambda letter: letter.origin is None), int)
        async with aclosing(app.dead_letters(foreign=True)) as letters:
            assert_type(await anext(letters), dawdle.DeadLetter[object | None])
        assert_type(await app.redrive(A, "b", handler="h", older_than=60, newer_than=90, where=is_meant), int)
        assert_type(await app.redrive("b", queue="default"), int)
        assert_type(await app.purge(A, B, older_than=timedelta(days=30), where=lambda letter: letter.attempts > 1), int)
    run: Callable[[], None] = dawdle.Dawdle().run
    run()


# Functions: a call takes what the function takes, and its plain call is the function's own


@dawdle.function
async def resize(path: str, width: int = 64, *, ctx: dawdle.Context | None = None) -> int:
    return len(path) * width


@dawdle.function(name="shop.report", aliases=["report"], retry=dawdle.Retry(), timeout=30, concurrency=2, queue="heavy")
def report(day: datetime, /, *customers: str, **more: list[A]) -> bytes:
    return repr((day, customers, more)).encode()


@dawdle.Registry().function()
async def tidy() -> None: ...


class Static:
    @dawdle.function
    @staticmethod
    async def work(event: A) -> A:
        return event


async def functions(app: dawdle.Dawdle) -> None:
    assert_type(await resize("a.png", width=5), int)
    assert_type(report(datetime.now(UTC), "a", x=[A()]), bytes)
    assert_type(await Static.work(A()), A)
    assert_type(await dawdle.call(resize, "a.png"), str)
    assert_type(await dawdle.call(resize, "a.png", width=5), str)
    assert_type(await dawdle.call(report, datetime.now(UTC), "a", "b", x=[A()]), str)
    assert_type(await app.call(tidy), str)
    assert_type(await app.call(Static.work, A()), str)
    assert_type(await dawdle.call_after(5, resize, "a.png", 6), str)
    assert_type(await app.call_after(timedelta(days=1), tidy), str)
    later = resize.options(delay=timedelta(hours=1), id="one", group="g", headers={"tenant": "a"}, queue="heavy")
    assert_type(await dawdle.call(later, "a.png", width=5), str)
    assert_type(await app.call(tidy.options(expires=60, source="/here", transaction=object())), str)
    assert_type(await later("a.png"), int)
    assert_type(await app.call(tidy.options(at=datetime.now(UTC)).options(direct=True)), str)
    assert_type(from_thread.call(resize, "a.png"), str)
    assert_type(from_thread.call_after(0.5, resize, "a.png", width=6), str)
    assert_type(resize.name, str)
    kept: dawdle.Function[[datetime], bytes] | None = None
    assert kept is None
    app.unregister(resize)
    pickle = dawdle.SignedPickle("k" * 32, old_keys=[b"o" * 32])
    dawdle.Dawdle(functions=pickle)
    assert_type(await app.call(pickle(lambda: print("Hello World!"))), str)
    assert_type(await app.call(pickle(len), "abc"), str)
    assert_type(await app.call_after(5, pickle(resize.function).options(id="one"), "a.png", 2), str)


# What is satisfied by what


backend: Backend = Memory(lease=30, max_delay=900, dead_letters=False)
behind: Backend | None = Memory().dead_letters
json: Codec = dawdle.JSON()
message_pack: Codec = dawdle.MessagePack()
plain: Codec = Plain()
held: Clock = ManualClock()
skewed: Clock = ManualClock().skewed(600)
system: Clock = SystemClock()


async def backends(queue: Backend) -> None:
    async with queue as opened:
        assert_type(opened, Backend)
        assert_type(await queue.send([Outgoing(b"x", delay=5)]), list[Fault | None])
        assert_type(await queue.receive(10, 20.0), list[Delivery])
        assert_type(await queue.ack(["r"]), list[Fault | None])
        assert_type(await queue.release([ReleaseEntry("r", 5.0)]), list[Fault | None])
        async with queue.renewer() as renew:
            assert_type(await renew(["r"]), list[Fault | None])
    assert_type(json.decode(b"{}", A), A)
    assert_type(dawdle.JSON().decode(b"{}", A), A)


# Awaiting events


def is_small(event: A | B) -> bool:
    return isinstance(event, A) and event.a < 5


async def awaiting(app: dawdle.Dawdle) -> None:
    assert_type(await dawdle.wait_for(A), A)
    assert_type(await app.wait_for(A, where=lambda event: event.a == 5, timeout=30), A)
    assert_type(await app.wait_for(A, B, where=is_small, timeout=timedelta(minutes=1)), A | B)
    assert_type(await dawdle.wait_for(A, B, C, D, E, F), A | B | C | D | E | F)
    assert_type(await dawdle.wait_for(Base), Base)
    assert_type(await dawdle.wait_for(), object)
    async with dawdle.stream(A, C, where=lambda event: isinstance(event, A) or event.c == "", buffer=5) as events:
        assert_type(events, dawdle.EventStream[A | C])
        async for event in events:
            assert_type(event, A | C)
        assert_type(events.dropped, int)
    async with app.stream() as every:
        assert_type(await anext(every), object)


# A queue in a SQLite file

files: list[Backend] = [
    SQLite(),
    SQLite("app.db", name="video", lease=timedelta(minutes=2), durability="normal", max_body=10_000),
    SQLite(Path("app.db"), ordered=True, dead_letters=False, clock=ManualClock(), allow_network_file_system=True),
]


async def in_a_transaction(connection: sqlite3.Connection) -> None:
    async with SQLite("app.db") as queue:
        transactional: Transactional = queue
        assert_type(await transactional.send_in(connection, [Outgoing(b"one")]), list[Fault | None])
        counted: Countable = queue
        browsable: Browsable = queue
        assert_type(await browsable.browse(10, after="7"), list[Stored])
        assert_type(await counted.count(), Counts)
        named: Identified = queue
        assert_type(named.identity, str)


# Telemetry


class Mine:
    def entered(self, queues: Mapping[str, Backend], health: Callable[[], dawdle.Health]) -> bool:
        return True

    def left(self) -> None: ...

    def watch(self, moment: hooks.Moment) -> None: ...

    def headers(self, handled: hooks.Trace | None) -> Mapping[str, str]:
        return {}


watched = [
    dawdle.Dawdle(telemetry=telemetry.OpenTelemetry()),
    dawdle.Dawdle(telemetry=telemetry.OpenTelemetry(consumer_spans="linked", baggage=True)),
    dawdle.Dawdle(telemetry=telemetry.prometheus()),
    dawdle.Dawdle(telemetry=[telemetry.OpenTelemetry(), telemetry.prometheus(), Mine()]),
]
own: dawdle.Telemetry = Mine()
assert_type(telemetry.prometheus(), telemetry.Prometheus)
described: Described = SQLite("app.db")
assert_type(described.description, Mapping[str, str | int])


# Web apps


class Pool: ...


class WebState(TypedDict):
    pool: Pool


@asynccontextmanager
async def resources(_: object) -> AsyncGenerator[WebState]:
    yield {"pool": Pool()}


@asynccontextmanager
async def of_fastapi(web: FastAPI) -> AsyncGenerator[None]:
    web.state.pool = Pool()
    yield


def make_dawdle() -> dawdle.Dawdle:
    return dawdle.Dawdle(Memory())


def not_stored(request: Request, error: Exception) -> None: ...


web_apps = [
    FastAPI(lifespan=dawdle.fastapi.lifespan()),
    FastAPI(lifespan=dawdle.fastapi.lifespan(dawdle.Dawdle())),
    FastAPI(lifespan=dawdle.fastapi.lifespan(make_dawdle, own=of_fastapi)),
    FastAPI(lifespan=dawdle.fastapi.lifespan(own=resources), exception_handlers=dawdle.fastapi.exception_handlers),
    FastAPI(exception_handlers={**dawdle.fastapi.exception_handlers}),
]
web_apps[0].include_router(dawdle.fastapi.health_router(tags=["ops"], include_in_schema=False), prefix="/internal")


@web_apps[0].post("/orders")
async def place_order(order: A, events: dawdle.fastapi.Events) -> dict[str, str]:
    assert_type(events, dawdle.Dawdle)
    return {"event_id": await events.signal(order)}


@web_apps[0].websocket("/orders")
async def orders_by_socket(socket: WebSocket, events: dawdle.fastapi.Events) -> None:
    await events.signal(A())


starlette = Starlette(
    lifespan=dawdle.asgi.lifespan(own=resources), routes=[Mount("/internal", dawdle.asgi.health_routes())]
)
litestar = Litestar(lifespan=[dawdle.asgi.lifespan(), dawdle.asgi.lifespan(own=resources)])
aiohttp_app = aiohttp_web.Application(middlewares=[dawdle.aiohttp.middleware])
aiohttp_app.cleanup_ctx.append(dawdle.aiohttp.cleanup_ctx(make_dawdle))
aiohttp_app.add_routes(dawdle.aiohttp.health_routes(prefix="/internal"))
assert_type(aiohttp_app[dawdle.aiohttp.APP], dawdle.Dawdle)


async def ask(app: dawdle.Dawdle, ctx: dawdle.Context, backend: SQS) -> None:
    async with app.with_lifespan(resources) as entered:
        assert_type(entered, dawdle.Dawdle)
    assert_type(await app.ping(), None)
    assert_type(ctx.state(Pool), Pool)
    pingable: Pingable = backend
    await pingable.ping()
    assert_type(backend.client_arguments(), Mapping[str, str | None])
    answer = dawdle.asgi.answer_to(ValueError())
    assert_type(answer, dawdle.asgi.Answer | None)
    assert_type(dawdle.asgi.probe(app, "ready").status, int)


# In tests


async def serve_sqs(server: SQSServer) -> None:
    assert_type(await serve(server), None)
    await serve(server, lambda opened: {"QUEUE": opened.queue_url("orders")})


@pytest.fixture
def dawdle_options() -> AppOptions:
    return {"queues": {"default": Memory(), "audit": Memory()}, "routes": {B: "audit"}, "retry": dawdle.Retry()}


@pytest.fixture
def dawdle_registry() -> dawdle.Registry:
    return registry


@pytest.fixture
def dawdle_tested_app() -> dawdle.Dawdle:
    return dawdle.Dawdle()


async def test_with_the_fixtures(
    dawdle_app: TestApp, dawdle_signals: Signals, dawdle_clock: ManualClock, dawdle_sqs: SQSTestQueue
) -> None:
    assert_type(await dawdle_app.signal(A(), delay=5), str)
    await dawdle_app.idle()
    await dawdle_app.advance(5)
    await dawdle_app.advance(timedelta(hours=1))
    await dawdle_app.advance(hours=1, minutes=30)
    await dawdle_clock.sleep(60)
    assert_type(dawdle_app.clock, ManualClock)
    assert_type(dawdle_signals.events, list[object])
    assert_type(dawdle_signals.of(A), list[A])
    assert_type(dawdle_signals[0].event, object)
    assert_type(assert_signaled(A, a=5), SignaledEvent[A])
    assert_type(assert_signaled(A).event.a, int)
    assert_type(assert_handled(A, bare, a=5), HandledEvent[A])
    assert_type(dawdle_app.assert_handled(C, "bare").event.c, str)
    assert_type(assert_dead_lettered(A, bare).error, str)
    assert_not_signaled(B)
    assert_type(dawdle_sqs.queue.visible, int)
    app: dawdle.Dawdle = dawdle_app
    backend: Backend = dawdle_sqs
    await TestApp(backend, clock=dawdle_clock).signal(app)


def test_that_is_not_async(dawdle_app: TestApp) -> None:
    assert_type(dawdle_app.from_thread.signal(A()), str)
    dawdle_app.from_thread.advance(hours=1)
    dawdle_app.from_thread.idle()
    with under_test(dawdle.Dawdle(), retry=dawdle.Retry()) as app:
        assert_type(app, TestApp)


async def test_a_handler_as_a_function() -> None:
    assert_type(context(A(), attempt=3, headers={"tenant": "t-1"}, state=[Database("main")]), dawdle.Context)
    assert_type(await in_a_unit_of_work(A(), context(state=Database("main"))), str)


class TestMemory(BackendContract):
    slack = 0.0

    def make(self) -> Memory:
        return Memory(clock=self.clock, lease=10)


# An app as a Lambda function


class Uploaded(msgspec.Struct):
    bucket: str
    key: str


async def api(event: dict[str, Any], context: object) -> dict[str, int]:
    return {"statusCode": 202}


def make_lambda_handler(app: dawdle.Dawdle) -> aws_lambda.LambdaHandler:
    handler = aws_lambda.handler(
        app,
        foreign=[aws_lambda.s3(Uploaded, "ObjectCreated:*", bucket="a"), aws_lambda.sns(Uploaded, "topic")],
        otherwise=api,
        report_batch_item_failures=True,
        margin=timedelta(seconds=2),
    )
    assert_type(handler({"Records": []}, None), object)
    assert_type(handler([]), object)
    handler.close()
    assert_type(handler, aws_lambda.LambdaHandler)
    return handler


def worker() -> None:
    dawdle.Dawdle().run(lifespan=lifespan, loop_factory=asyncio.new_event_loop)
    dawdle.Dawdle(lifespan=lambda app: dawdle.aiohttp.health_server(app, port=8080)).run()


async def host(app: dawdle.Dawdle) -> None:
    def wrap(name: str, backend: Backend) -> Backend:
        return backend

    app.wrap_queues(wrap)
    assert_type(SQLite("app.db").path, str)
    app.configure(listen=["video"], concurrency=5)
    app.configure(concurrency={"video": 5}, hooks=[print], telemetry=telemetry.prometheus())
    assert_type(app.grace, float)
    for each in app.telemetry:
        if isinstance(each, telemetry.Prometheus):
            assert_type(each, telemetry.Prometheus)
    for backend in app.backends.values():
        if isinstance(backend, Aged):
            assert_type(await backend.oldest(), float | None)
    await app.stop_listener(grace=timedelta(seconds=1))
    await app.stop_listener(grace=0)
