"""How a trace travels: sampled or not, without a provider, with baggage, and what telemetry may not break."""

import logging
import subprocess
import sys
import textwrap

import msgspec
import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import NoOpTracerProvider, TraceFlags
from prometheus_client import CollectorRegistry

from dawdle import ConfigurationError, Dawdle
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.telemetry import OpenTelemetry, prometheus
from tests.telemetry.conftest import OrderPlaced, ParcelPacked

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def chain_of(registry):
    """Two handlers, of which the first signals what the second handles; returns the headers that each has seen."""
    seen = {}

    @registry.on_event(name="pack")
    async def pack(event: OrderPlaced, ctx):
        seen["pack"] = ctx.headers
        await registry.app.signal(ParcelPacked(event.order_id))

    @registry.on_event(name="label")
    async def label(event: ParcelPacked, ctx):
        seen["label"] = ctx.headers
        seen["baggage"] = baggage.get_all()

    return seen


@pytest.mark.parametrize("provider", [None, NoOpTracerProvider()], ids=["none", "no-op"])
async def test_without_a_provider_a_trace_goes_on_all_the_same(registry, queue, clock, provider):
    seen = chain_of(registry)
    async with Dawdle(
        queue, registry=registry, clock=clock, telemetry=OpenTelemetry(tracer_provider=provider)
    ) as registry.app:
        await registry.app.signal(OrderPlaced("o-1"), headers={"traceparent": TRACEPARENT, "tracestate": "a=1"})
        await registry.app.idle()
    assert seen["label"] == {"traceparent": TRACEPARENT, "tracestate": "a=1"}


@pytest.mark.parametrize("provider", [None, NoOpTracerProvider()], ids=["none", "no-op"])
async def test_without_a_provider_and_a_trace_no_header_is_sent(registry, queue, clock, provider):
    seen = chain_of(registry)
    async with Dawdle(
        queue, registry=registry, clock=clock, telemetry=OpenTelemetry(tracer_provider=provider)
    ) as registry.app:
        await registry.app.signal(OrderPlaced("o-1"))
        await registry.app.idle()
    assert seen["pack"] == seen["label"] == {}


async def test_what_is_not_sampled_stays_so_and_names_its_trace(registry, queue, clock):
    seen = chain_of(registry)
    provider = TracerProvider(sampler=ParentBased(ALWAYS_OFF))
    async with Dawdle(
        queue, registry=registry, clock=clock, telemetry=OpenTelemetry(tracer_provider=provider)
    ) as registry.app:
        await registry.app.signal(OrderPlaced("o-1"))
        await registry.app.idle()
    assert not int(seen["label"]["traceparent"][-2:], 16) & TraceFlags.SAMPLED
    assert seen["label"]["traceparent"][:36] == seen["pack"]["traceparent"][:36]


@pytest.mark.parametrize("by_choice", [True, False])
async def test_baggage_travels_by_choice(running, registry, by_choice):
    seen = chain_of(registry)
    async with running(otel={"baggage": by_choice}) as registry.app:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        await registry.app.signal(OrderPlaced("o-1"))
        context.detach(token)
        await registry.app.idle()
    assert ("baggage" in seen["pack"]) is by_choice
    assert seen["baggage"] == ({"tenant": "acme"} if by_choice else {})


async def test_a_foreign_event_with_odd_trace_attributes_is_handled(running, registry, queue, trace):
    got = []

    @registry.on_event(name="receipt")
    async def handle(event: OrderPlaced):
        got.append(event)

    body = {
        "specversion": "1.0",
        "id": "1",
        "source": "/other",
        "type": "OrderPlaced",
        "data": {"order_id": "o-1"},
        "traceparent": 7,
        "tracestate": ["x"],
        "baggage": {"a": 1},
    }
    async with running(otel={"baggage": True}) as app:
        await queue.send([Outgoing(msgspec.json.encode(body))])
        await app.idle()
    assert len(got) == 1
    assert trace.one("process default receipt").parent.span_id == trace.one("receive default").context.span_id


class Broken:
    """Telemetry that raises in one method, or in all of them but that one."""

    def __init__(self, fine=""):
        self.fine = fine

    def _raise(self, name):
        if self.fine != name:
            raise OSError(name)

    def entered(self, queues, health):
        self._raise("entered")
        return True

    def left(self):
        self._raise("left")

    def watch(self, moment):
        self._raise("watch")

    def headers(self, handled):
        self._raise("headers")
        return {}


@pytest.mark.parametrize(
    ("fine", "logged"), [("", {"entered"}), ("entered", {"headers", "left"})], ids=["at once", "later"]
)
async def test_telemetry_that_raises_is_logged_and_changes_nothing(running, registry, trace, caplog, fine, logged):
    @registry.on_event(name="receipt")
    async def handle(event: OrderPlaced):
        pass

    with caplog.at_level(logging.ERROR):
        async with running(telemetry=[Broken(fine)]) as app:
            await app.signal(OrderPlaced("o-1"))
            await app.idle()
    assert trace.one("process default receipt").attributes["dawdle.outcome"] == "done"
    texts = {record.getMessage() for record in caplog.records if record.name == "dawdle._app.telemetry"}
    assert {text.partition(" raised an error in ")[2].partition("()")[0] for text in texts} == logged


class Forging(Broken):
    """Telemetry whose headers would replace what dawdle writes."""

    def _raise(self, name):
        pass

    def headers(self, handled):
        return {"id": "forged"}


async def test_headers_that_dawdle_writes_itself_are_refused_from_telemetry(running, registry, caplog):
    got = []

    @registry.on_event(name="receipt")
    async def handle(event: OrderPlaced, ctx):
        got.append(ctx.event_id)

    async with running(telemetry=[Forging()]) as app:
        event_id = await app.signal(OrderPlaced("o-1"))
        await app.idle()
    assert got == [event_id]
    assert "the header 'id' is taken" in caplog.text


@pytest.mark.parametrize("given", [OpenTelemetry, prometheus, "otel", [OpenTelemetry], 7, lambda moment: None])
def test_what_is_no_telemetry_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"telemetry is an object such as dawdle.telemetry.OpenTelemetry\(\)"):
        Dawdle(telemetry=given)


def test_an_unknown_way_of_making_spans_is_refused():
    with pytest.raises(ConfigurationError, match='consumer_spans is "child" or "linked"'):
        OpenTelemetry(consumer_spans="parent")


@pytest.mark.parametrize(
    ("library", "call", "extra"),
    [("opentelemetry", "OpenTelemetry()", "otel"), ("prometheus_client", "prometheus()", "prometheus")],
)
def test_a_missing_library_is_named_with_what_to_install(library, call, extra):
    code = f"""
    import sys
    sys.modules[{library!r}] = None
    import dawdle
    from dawdle.telemetry import OpenTelemetry, prometheus
    try:
        {call}
    except dawdle.ConfigurationError as error:
        print(error)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert f"pip install 'dawdle[{extra}]'" in ran.stdout


def test_telemetry_loads_neither_library_before_it_is_used():
    code = (
        "import dawdle.telemetry, sys; print([n for n in ('opentelemetry', 'prometheus_client') if n in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("make", [OpenTelemetry, lambda: prometheus(CollectorRegistry())], ids=["otel", "prometheus"])
async def test_one_object_serves_one_app_at_a_time(registry, clock, make):
    telemetry = make()
    first = Dawdle(Memory(clock=clock), registry=registry, clock=clock, telemetry=telemetry)
    second = Dawdle(Memory(clock=clock), registry=registry, clock=clock, telemetry=telemetry)
    async with first:
        with pytest.raises(ConfigurationError, match="watches another app already: make one for each app"):
            await second.__aenter__()
    async with second:
        with pytest.raises(ConfigurationError, match="watches another app already"):
            await first.__aenter__()


async def test_a_program_without_the_sdk_is_told_so(registry, queue, clock, caplog):
    with caplog.at_level(logging.INFO):
        async with Dawdle(queue, registry=registry, clock=clock, telemetry=OpenTelemetry()):
            pass
    assert "set up its SDK before the app is entered" in caplog.text


async def test_a_provider_that_fails_once_keeps_no_app_from_being_entered_again(registry, queue, clock, caplog):
    class Provider(TracerProvider):
        asked = 0

        def get_tracer(self, *args, **kwargs):
            self.asked += 1
            if self.asked == 1:
                raise OSError("the exporter is not there")
            return super().get_tracer(*args, **kwargs)

    app = Dawdle(queue, registry=registry, clock=clock, telemetry=OpenTelemetry(tracer_provider=Provider()))
    for _ in range(2):
        async with app:
            pass
    assert caplog.text.count("raised an error in entered()") == 1


@pytest.mark.parametrize("make", [OpenTelemetry, lambda: prometheus(CollectorRegistry())], ids=["otel", "prometheus"])
async def test_two_of_a_kind_are_refused_since_each_would_count(make):
    with pytest.raises(ConfigurationError, match="telemetry has 2 objects .*: give one"):
        Dawdle(telemetry=[make(), make()])
