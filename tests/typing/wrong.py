"""Every line marked as an error is one under mypy --strict and under pyright strict, and no other line is."""

# pyright: strict

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

import msgspec
from starlette.applications import Starlette

import dawdle
import dawdle.asgi
from dawdle import aws_lambda, from_thread, hooks, telemetry
from dawdle.abc import Backend, Clock, Codec, SystemClock
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.testing import AppOptions, Signals, TestApp, assert_handled, assert_not_signaled, assert_signaled, context


class A(msgspec.Struct):
    a: int = 0


class B(msgspec.Struct):
    pass


class SubA(A):
    pass


class C(msgspec.Struct):
    pass


class D(msgspec.Struct):
    pass


class E(msgspec.Struct):
    pass


class F(msgspec.Struct):
    pass


class G(msgspec.Struct):
    pass


async def takes_a(event: A) -> int:
    return event.a


async def takes_sub(event: SubA) -> None: ...
async def takes_any_of_six(event: A | B | C | D | E | F) -> None: ...
async def takes_ab(event: A | B, ctx: dawdle.Context) -> None: ...
async def takes_object(event: object) -> None: ...
async def takes_nothing() -> None: ...
async def takes_named(*, event: A) -> None: ...


# A handler that is not of its types

dawdle.on_event(B)(takes_a)  # error
dawdle.on_event(A, B)(takes_a)  # error
dawdle.on_event(A, B, C)(takes_ab)  # error
dawdle.on_event(A)(takes_sub)  # error
dawdle.on_event(A)(dawdle.on_event(B)(takes_a))  # error
dawdle.on_event(C)(dawdle.on_event(B)(takes_ab))  # error
dawdle.on_event()(5)  # error
dawdle.on_event(name="every")(A())  # error
dawdle.on_event(A)(takes_nothing)  # error
dawdle.on_event(A)(takes_named)  # error
dawdle.on_event(A)(5)  # error
dawdle.on_event(A, B, C, D, E, F, G)(takes_object)  # error
dawdle.on_event(A, B, C, D, E, G)(takes_any_of_six)  # error
dawdle.Registry().on_event(B)(takes_a)  # error


# What is no type, and no option

dawdle.on_event(5)  # error
dawdle.on_event("A")  # error
dawdle.on_event(A, "B")  # error
dawdle.on_event(A())  # error
dawdle.on_event(takes_a, name="x")  # error
dawdle.on_event(A, nam="x")  # error
dawdle.on_event(A, name=5)  # error
dawdle.on_event(A, aliases=5)  # error
dawdle.on_event(A, retry=5)  # error
dawdle.on_event(A, timeout="5")  # error
dawdle.on_event(A, concurrency=1.5)  # error
dawdle.on_event(A, exclude=[5])  # error
dawdle.on_event(A, queue=5)  # error
dawdle.on_event(A, retries=3)  # error


# Around a handler


@asynccontextmanager
async def of_nothing() -> AsyncGenerator[None, None]:
    yield


@asynccontextmanager
async def of_two(ctx: dawdle.Context, session: str) -> AsyncGenerator[None, None]:
    yield


@asynccontextmanager
async def unit(ctx: dawdle.Context) -> AsyncGenerator[None, None]:
    yield


@contextmanager
def not_async(ctx: dawdle.Context) -> Generator[None, None, None]:
    yield


async def not_decorated(ctx: dawdle.Context) -> AsyncGenerator[None, None]:
    yield


number: ContextVar[int] = ContextVar("number")
request_id: ContextVar[str] = ContextVar("request_id")


def around(ctx: dawdle.Context) -> None:
    dawdle.on_event(A, around=of_nothing)  # error
    dawdle.on_event(A, around=of_two)  # error
    dawdle.on_event(A, around=not_async)  # error
    dawdle.on_event(A, around=not_decorated)  # error
    dawdle.on_event(A, around=unit(ctx))  # error
    dawdle.on_event(A, around=[unit, 5])  # error
    dawdle.Registry(around=not_async)  # error
    dawdle.Registry(unit)  # error
    dawdle.Dawdle(around="unit")  # error
    dawdle.Dawdle(queues=[Memory()])  # error
    dawdle.Dawdle(queues={"default": "sqs"})  # error
    dawdle.Dawdle(queues={1: Memory()})  # error
    dawdle.Dawdle(routes={"A": "video"})  # error
    dawdle.Dawdle(routes={A: 5})  # error
    dawdle.Dawdle(listen=5)  # error
    dawdle.Dawdle(concurrency={"video": "two"})  # error
    dawdle.Dawdle(carry=[request_id])  # error
    dawdle.Dawdle(carry={"number": number})  # error
    dawdle.Dawdle(carry={"requestid": request_id.get})  # error
    ctx.provide()  # error
    state: int = ctx.state(str)  # error
    del state


# A decorated handler keeps its type

decorated = dawdle.on_event(A)(takes_a)
bare = dawdle.on_event(takes_a)
both = dawdle.on_event(A, B)(takes_ab)
stacked = dawdle.on_event(A)(dawdle.on_event(B)(takes_ab))
by_annotation = dawdle.on_event(timeout=5)(takes_a)


async def calls(ctx: dawdle.Context) -> object:
    await decorated(B())  # error
    await decorated()  # error
    await bare(B())  # error
    await bare(A(), ctx)  # error
    await both(A())  # error
    await both(C(), ctx)  # error
    await stacked(A())  # error
    await stacked(C(), ctx)  # error
    await by_annotation(B())  # error
    one: str = await decorated(A())  # error
    two: str = await bare(A())  # error
    return one, two


# Events

dawdle.event(5)  # error
dawdle.event("x", alias=("y",))  # error
dawdle.event("x", aliases=5)  # error
dawdle.event("x", unclaimed="ignore")  # error
dawdle.event("x", expires="60")  # error
dawdle.event("x", expired="ack")  # error
dawdle.event("x")(5)  # error
dawdle.event("x", version="2")  # error
dawdle.event("x", version=2, upcasters=[lambda data: data])  # error
dawdle.event("x", version=2, upcasters={"1": lambda data: data})  # error
dawdle.event("x", version=2, upcasters={1: lambda data: 5})  # error


# Signals


def is_meant_of_b(letter: dawdle.DeadLetter[B]) -> bool:
    return bool(letter.event)


async def letter_of_b(letter: dawdle.DeadLetter[B]) -> None: ...
async def letter_of_an_event(event: A) -> None: ...
def letter_of_a_thread(letter: dawdle.DeadLetter) -> None: ...


dawdle.on_dead_letter(A)(letter_of_b)  # error
dawdle.on_dead_letter(A, B)(letter_of_b)  # error
dawdle.on_dead_letter(A)(letter_of_an_event)  # error
dawdle.on_dead_letter(letter_of_an_event)  # error
dawdle.on_dead_letter(letter_of_a_thread)  # error
dawdle.on_dead_letter(A, retry=3)  # error
dawdle.on_dead_letter(5)  # error


def signals_from_a_thread(app: dawdle.Dawdle) -> None:
    dawdle.from_thread.signal()  # error
    dawdle.from_thread.signal(A(), 5)  # error
    dawdle.from_thread.signal(A(), delay="5")  # error
    dawdle.from_thread.signal(A(), direct="no")  # error
    dawdle.from_thread.signal(A(), later=True)  # error
    dawdle.from_thread.signal(A(), app=dawdle)  # error
    dawdle.from_thread.signal(app, A())  # error
    dawdle.from_thread.signal_many(A())  # error
    dawdle.from_thread.signal_many([A()], direct=True)  # error
    one: int = dawdle.from_thread.signal(A())  # error
    many: list[int] = dawdle.from_thread.signal_many([A()], app=app)  # error
    del one, many


async def signals(app: dawdle.Dawdle) -> object:
    await dawdle.signal()  # error
    await dawdle.signal(A(), 5)  # error
    await dawdle.signal(A(), delay="5")  # error
    await dawdle.signal(A(), at=5)  # error
    await dawdle.signal(A(), at="2030-01-01")  # error
    await dawdle.signal(A(), dely=5)  # error
    await dawdle.signal(A(), direct="no")  # error
    await dawdle.signal(A(), id=5)  # error
    await dawdle.signal(A(), group=5)  # error
    await dawdle.signal(A(), headers={"tenant": 5})  # error
    await dawdle.signal(A(), headers="tenant")  # error
    await dawdle.signal(A(), expires="60")  # error
    await dawdle.signal(A(), source=b"/shop")  # error
    await dawdle.signal(A(), queue=5)  # error
    await app.signal(A(), delay=[])  # error
    await app.signal(A(), later=True)  # error
    await dawdle.signal_many(A())  # error
    await dawdle.signal_many([A()], direct=True)  # error
    await app.signal_many([A()], id="e")  # error
    await app.redrive(7)  # error
    await app.redrive(A, handler=takes_a)  # error
    await app.redrive(older_than="1h")  # error
    await app.redrive(where=lambda letter: letter.event.a > 0)  # error
    await app.redrive(A, where=lambda letter: letter.event.b > 0)  # error
    await app.redrive(A, where=is_meant_of_b)  # error
    await app.redrive(where=is_meant_of_b)  # error
    await app.redrive(A, "b", where=is_meant_of_b)  # error
    await app.redrive(A, foreign="mails")  # error
    await app.purge(A, where=is_meant_of_b)  # error
    await app.purge(where="all")  # error
    await app.purge(older="1h")  # error
    one: int = await dawdle.signal(A())  # error
    many: list[int] = await dawdle.signal_many([A()])  # error
    dawdle.discover(5)  # error
    return one, many


# Inside a handler


async def handle(event: object, ctx: dawdle.Context) -> object:
    text: str = ctx.state(A)  # error
    ctx.state("A")  # error
    ctx.state(A).b  # error
    ctx.state()  # error
    ctx.attempts  # error
    ctx.headers["x"] = "y"  # error
    number: int = ctx.event_id  # error
    if number:
        raise dawdle.RetryLater("soon")  # error
    return text


dawdle.Retry(max_attempts="3")  # error
dawdle.Retry(max_attempts=1.5)  # error
dawdle.Retry(attempts=3)  # error
dawdle.Retry(initial="1")  # error
dawdle.Retry(1, 2, 3, 4, 0.5, 6)  # error
dawdle.Retry().jitter = 0.1  # error
dawdle.Retry(never=(int,))  # error
dawdle.Retry(initial="5")  # error
dawdle.Dawdle(timeout="5")  # error


# Apps


@asynccontextmanager
async def lifespan_of_text(app: str) -> AsyncGenerator[None, None]:
    yield


async def no_context_manager(app: dawdle.Dawdle) -> None: ...
def watches_text(moment: str) -> None: ...
def watches_signals(moment: hooks.Signaled) -> None: ...
def watches(moment: hooks.Moment) -> None: ...


class Incomplete:
    async def send(self, batch: list[bytes]) -> None: ...


class NoCodec:
    def encode(self, event: object) -> bytes:
        return b""


class NoClock:
    def now(self) -> float:
        return 0.0


def apps(app: dawdle.Dawdle) -> None:
    dawdle.Dawdle("memory")  # error
    dawdle.Dawdle(Memory(), 5)  # error
    dawdle.Dawdle(Incomplete())  # error
    dawdle.Dawdle(concurency=5)  # error
    dawdle.Dawdle(concurrency="5")  # error
    dawdle.Dawdle(retry=3)  # error
    dawdle.Dawdle(grace="5")  # error
    dawdle.Dawdle(start_listener="no")  # error
    dawdle.Dawdle(registry=[takes_a])  # error
    dawdle.Dawdle(headers={"tenant": 5})  # error
    dawdle.Dawdle(codec="json")  # error
    dawdle.Dawdle(codec=NoCodec())  # error
    dawdle.Dawdle(clock=NoClock())  # error
    dawdle.Dawdle(lifespan=lifespan_of_text)  # error
    dawdle.Dawdle(lifespan=no_context_manager)  # error
    dawdle.Dawdle(hooks=watches)  # error
    dawdle.Dawdle(hooks=[watches_text])  # error
    dawdle.Dawdle(hooks=[watches_signals])  # error
    app.register(5)  # error
    app.register(takes_a, 5)  # error
    app.register(takes_a, A())  # error
    app.register(takes_a, A, nam="x")  # error
    app.register(takes_a, A, timeout="5")  # error
    app.unregister("takes_a")  # error
    app.handler_count("A")  # error
    app.handler_count(A())  # error
    app.dead_letters(A, where=is_meant_of_b)  # error
    app.browse(A)  # error
    app.browse(A, queue="audit", since=60)  # error
    dawdle.Registry().include([takes_a])  # error
    Memory(lease="60")  # error
    Memory(leases=60)  # error


backend: Backend = Incomplete()  # error
codec: Codec = NoCodec()  # error
clock: Clock = NoClock()  # error


# A call whose arguments are not those of its function, and what is no function


@dawdle.function
async def resize(path: str, width: int = 64) -> int:
    return len(path) * width


async def calls_of_functions(app: dawdle.Dawdle, pickle: dawdle.SignedPickle) -> None:
    await dawdle.call(resize)  # error
    await dawdle.call(resize, 5)  # error
    await dawdle.call(resize, "a", "b")  # error
    await dawdle.call(resize, "a", 5, 6)  # error
    await dawdle.call(resize, "a", height=5)  # error
    await dawdle.call(resize, "a", width="5")  # error
    await app.call(resize.options(delay=5), 5)  # error
    await app.call_after(5, resize)  # error
    await dawdle.call_after(5, resize, width=5)  # error
    await dawdle.call_after("5", resize, "a")  # error
    await dawdle.call_after(resize, "a")  # error
    from_thread.call(resize, 5)  # error
    from_thread.call_after(5, resize)  # error
    resize.options(dely=5)  # error
    resize.options(delay="5")  # error
    resize.options(direct=1)  # error
    await dawdle.call(takes_nothing)  # error
    await dawdle.call(lambda: None)  # error
    await dawdle.call(takes_nothing())  # error
    await dawdle.call(resize("a"))  # error
    await app.call(pickle(takes_a), 5)  # error
    await resize(5)  # error
    dawdle.Dawdle(functions="key")  # error
    dawdle.SignedPickle(5)  # error
    dawdle.function(nam="x")  # error
    dawdle.function(exclude=(A,))  # error


# Awaiting events


async def awaiting(app: dawdle.Dawdle) -> None:
    number: int = await dawdle.wait_for(A)  # error
    await dawdle.wait_for(A, where=lambda event: event.b == 5)  # error
    await dawdle.wait_for(A, B, where=lambda event: event.a == 5)  # error
    await dawdle.wait_for(A())  # error
    await app.wait_for(A, timeout="5")  # error
    await app.wait_for(A, delay=5)  # error
    app.stream(A, buffer="5")  # error
    async with app.stream(A) as events:
        async for event in events:
            other: B = event  # error
            assert other
    assert number


# A queue in a SQLite file


def files() -> None:
    SQLite(5)  # error
    SQLite("app.db", durability="none")  # error
    SQLite("app.db", "default")  # error
    SQLite("app.db", lease="60")  # error
    SQLite("app.db", wait=20)  # error


# Telemetry


def telemetries() -> None:
    dawdle.Dawdle(telemetry=telemetry.OpenTelemetry)  # error
    dawdle.Dawdle(telemetry=telemetry.prometheus)  # error
    dawdle.Dawdle(telemetry="otel")  # error
    telemetry.OpenTelemetry(consumer_spans="parent")  # error
    telemetry.OpenTelemetry("linked")  # error
    telemetry.prometheus(8000)  # error


# Web apps


@asynccontextmanager
async def of_text(web: str) -> AsyncGenerator[None, None]:
    yield


def web_apps(app: dawdle.Dawdle) -> None:
    dawdle.asgi.lifespan(of_text)  # error
    dawdle.asgi.lifespan("memory")  # error
    dawdle.asgi.lifespan(own=5)  # error
    Starlette(lifespan=dawdle.asgi.lifespan(own=of_text))  # error
    dawdle.asgi.probe(app, "reedy")  # error
    dawdle.asgi.health_routes("memory")  # error
    app.with_lifespan(of_text)  # error


# In tests


async def in_a_test(dawdle_app: TestApp, dawdle_signals: Signals) -> None:
    await dawdle_app.idle(5)  # error
    await dawdle_app.advance("1h")  # error
    await dawdle_app.advance(days="1")  # error
    await dawdle_app.advance(weeks=1)  # error
    assert_signaled(A()).event  # error
    number: str = assert_signaled(A).event.a  # error
    assert_handled(A, 5)  # error
    assert_not_signaled("A")  # error
    wrong: list[B] = dawdle_signals.of(A)  # error
    TestApp(rety=dawdle.Retry())  # error
    TestApp(clock=SystemClock())  # error
    context(attempt="3")  # error
    options: AppOptions = {"rety": dawdle.Retry()}  # error
    assert number
    assert wrong
    assert options


# An app as a Lambda function


def functions_of_lambda(app: dawdle.Dawdle) -> None:
    aws_lambda.handler(Memory())  # error
    aws_lambda.handler(app, foreign=[A])  # error
    aws_lambda.handler(app, report="yes")  # error
    aws_lambda.s3("Uploaded")  # error
    aws_lambda.eventbridge(A)  # error
    app.wrap_queues(lambda name: Memory())  # error
    app.configure(["video"])  # error
    app.configure(listen=3)  # error
    app.configure(concurrency={A: 3})  # error
    app.configure(telemetry=print)  # error
    app.run(lifespan=of_text)  # error
    app.run(loop_factory=A)  # error
    app.backends["default"] = Memory()  # error
