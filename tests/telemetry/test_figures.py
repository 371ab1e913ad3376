"""The metrics, as OpenTelemetry's SDK and Prometheus' client keep them: the same figures under the same names."""

import asyncio
import gc
import weakref

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dawdle import Dawdle, Registry, Reject, Retry, SignalError
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from dawdle.telemetry import prometheus
from dawdle.telemetry._metrics import GAUGES, MAX_LABEL_SETS, METRICS, Recorder
from dawdle.telemetry._prometheus import prometheus_name
from tests.telemetry.conftest import OrderPlaced, ParcelPacked

pytestmark = pytest.mark.anyio


class Exposed:
    """What a scrape of a registry would get."""

    def __init__(self):
        self.registry = CollectorRegistry()

    @property
    def text(self):
        return generate_latest(self.registry).decode()

    def of(self, name, **labels):
        (value,) = [
            sample.value
            for family in text_string_to_metric_families(self.text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return value


@pytest.fixture
def exposed():
    return Exposed()


@pytest.fixture
def busy(running, registry, exposed, clock):
    """Run an app through all that is counted but failures of the queue."""
    tries = []

    @registry.on_event(name="receipt", retry=Retry(max_attempts=2, initial=10, jitter=0))
    async def send_receipt(event: OrderPlaced):
        await asyncio.sleep(0)
        raise ConnectionError("away")

    @registry.on_event(name="audit", retry=Retry(initial=10, jitter=0))
    async def audit(event: OrderPlaced):
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("away")

    @registry.on_event(name="pack")
    async def pack(event: ParcelPacked):
        raise Reject("no such order")

    async def run(check):
        async with running(telemetry=[prometheus(exposed.registry)]) as app:
            await app.signal(OrderPlaced("o-1"))
            await app.signal(ParcelPacked("o-1"))
            await app.signal(ParcelPacked("o-2"), delay=1)
            await app.idle()
            await clock.advance(11)
            await app.idle()
            check()

    return run


async def test_every_step_is_counted_by_both(busy, figures, exposed):
    def check():
        default = {"messaging_destination_name": "default"}
        sent = "messaging_client_sent_messages_total"
        assert exposed.of(sent, cloudevents_event_type="OrderPlaced", **default) == 1
        assert exposed.of(sent, cloudevents_event_type="ParcelPacked", **default) == 2
        runs = "messaging_process_duration_seconds_count"
        assert exposed.of(runs, dawdle_handler="receipt", dawdle_outcome="failed", error_type="ConnectionError") == 2
        assert exposed.of(runs, dawdle_handler="audit", dawdle_outcome="failed") == 1
        assert exposed.of(runs, dawdle_handler="audit", dawdle_outcome="done", error_type="") == 1
        assert exposed.of("dawdle_forwarded_messages_total", dawdle_handler="audit", dawdle_forwarded_why="retry") == 1
        assert exposed.of("dawdle_dead_lettered_messages_total", dawdle_handler="receipt") == 1
        assert exposed.of("dawdle_dead_lettered_messages_total", dawdle_handler="pack") == 2
        assert exposed.of("dawdle_queue_latency_seconds_count", dawdle_handler="pack") >= 1
        assert exposed.of("dawdle_messages_in_flight", **default) == 0
        assert exposed.of("dawdle_slots", **default) == 100
        assert exposed.of("dawdle_healthy") == 1
        assert exposed.of("dawdle_batch_fill_count", dawdle_call="delete", **default) >= 1
        assert exposed.of("dawdle_request_duration_seconds_count", dawdle_call="receive", **default) >= 1
        assert exposed.of("messaging_client_operation_duration_seconds_count", messaging_operation_name="settle") >= 1
        assert figures.of("messaging.client.sent.messages", cloudevents__event_type="OrderPlaced") == 1
        assert figures.of("messaging.process.duration", dawdle__handler="receipt") == 2
        assert figures.of("dawdle.dead_lettered.messages", dawdle__handler="pack") == 2
        assert figures.of("dawdle.slots", messaging__destination__name="default") == 100
        assert figures.of("dawdle.healthy") == 1

    await busy(check)


async def test_both_keep_equal_figures_under_equal_names(busy, figures, exposed):
    def check():
        theirs = exposed_by_opentelemetry(figures)
        ours = {
            (sample.name, frozenset((k, v) for k, v in sample.labels.items() if v)): sample.value
            for family in text_string_to_metric_families(exposed.text)
            for sample in family.samples
            if not sample.name.endswith("_created")
        }
        assert theirs == ours

    await busy(check)


def exposed_by_opentelemetry(figures):
    """Return what OpenTelemetry's own exporter for Prometheus makes of the figures, without the labels of its own."""
    from opentelemetry.exporter.prometheus import _CustomCollector

    collector = _CustomCollector(disable_target_info=True)
    collector.add_metrics_data(figures._reader.get_metrics_data())
    return {
        (
            sample.name,
            frozenset((k, str(v)) for k, v in sample.labels.items() if v and not k.startswith("otel_scope")),
        ): sample.value
        for family in collector.collect()
        for sample in family.samples
    }


async def test_an_event_that_expired_is_counted(running, registry, clock, exposed):
    from dawdle.backends.memory import Memory

    @registry.on_event(name="pack")
    async def pack(event: ParcelPacked):
        pass

    async with running(Memory(clock=clock), telemetry=[prometheus(exposed.registry)], start_listener=False) as app:
        await app.signal(ParcelPacked("o-1"), expires=5)
        await clock.advance(6)
        await app.start_listener()
        await app.idle()
        assert exposed.of("dawdle_expired_messages_total") == 1


async def test_a_signal_that_fails_is_counted_with_its_sort(running, registry, queue, exposed, monkeypatch):
    async def refuse(batch):
        return [Fault("refused", "too odd") for _ in batch]

    monkeypatch.setattr(queue, "send", refuse)
    async with running(telemetry=[prometheus(exposed.registry)]) as app:
        with pytest.raises(SignalError):
            await app.signal(OrderPlaced("o-1"))
    assert exposed.of("messaging_client_sent_messages_total", error_type="refused") == 1


async def test_what_is_in_flight_and_for_how_long_is_seen_in_a_scrape(running, registry, clock, exposed):
    go_on = asyncio.Event()

    @registry.on_event(name="pack")
    async def pack(event: ParcelPacked):
        await go_on.wait()

    async with running(telemetry=[prometheus(exposed.registry)]) as app:
        await app.signal(ParcelPacked("o-1"))
        await clock.advance(30)
        assert exposed.of("dawdle_messages_in_flight") == 1
        assert exposed.of("dawdle_oldest_age_seconds") == 30
        go_on.set()
        await app.idle()
        assert exposed.of("dawdle_messages_in_flight") == 0
        assert "dawdle_oldest_age_seconds{" not in exposed.text
    assert "dawdle_messages_in_flight{" not in exposed.text


async def test_two_apps_share_a_registry(registry, clock, exposed):
    from dawdle import Dawdle
    from dawdle.backends.memory import Memory

    @registry.on_event(name="pack")
    async def pack(event: ParcelPacked):
        pass

    def make(name):
        return Dawdle(
            queues={name: Memory(clock=clock)},
            routes={ParcelPacked: name},
            registry=registry,
            clock=clock,
            telemetry=prometheus(exposed.registry),
        )

    async with make("a") as a, make("b") as b:
        for app in (a, b, b):
            await app.signal(ParcelPacked("o-1"))
            await app.idle()
        for name, count in (("a", 1), ("b", 2)):
            assert exposed.of("messaging_client_sent_messages_total", messaging_destination_name=name) == count
            assert exposed.of("dawdle_slots", messaging_destination_name=name) == 100


def test_a_registry_that_is_dropped_is_freed():
    registry = CollectorRegistry()
    prometheus(registry)
    dropped = weakref.ref(registry)
    del registry
    gc.collect()
    assert dropped() is None


class Counting:
    def __init__(self):
        self.children = []

    def child(self, metric, queue, values):
        self.children.append(values)
        return lambda _: None


def test_names_that_others_write_make_no_unlimited_number_of_time_series():
    from dawdle.hooks import DeadLettered

    sink = Counting()
    recorder = Recorder(sink)
    for number in range(MAX_LABEL_SETS + 100):
        recorder.dead_lettered(DeadLettered("default", "1", "T", f"handler-{number}", "why"))
    assert len(sink.children) == MAX_LABEL_SETS + 1
    assert sink.children[-1] == ("_OTHER",)


def test_names_are_apart_and_explained():
    names = [prometheus_name(metric) for metric in (*METRICS, *GAUGES)]
    assert len(set(names)) == len(names)
    for metric in (*METRICS, *GAUGES):
        assert metric.text
        assert metric.buckets or metric.kind != "histogram"
        assert metric.name.startswith(("dawdle.", "messaging."))


async def test_apps_that_share_a_registry_give_one_sample_for_each_gauge(clock):
    kept = CollectorRegistry()
    apps = [
        Dawdle(Memory(clock=clock), registry=Registry(), clock=clock, concurrency=slots, telemetry=prometheus(kept))
        for slots in (10, 20)
    ]
    async with apps[0], apps[1]:
        lines = generate_latest(kept).decode().splitlines()
    slots = [line for line in lines if line.startswith("dawdle_slots{")]
    assert [line.split()[-1] for line in slots] == ["30.0"]
    assert [line.split()[-1] for line in lines if line.startswith("dawdle_healthy{")] == ["1.0"]
