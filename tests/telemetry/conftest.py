"""Apps on a held clock, watched by OpenTelemetry's SDK: its spans and figures are kept in memory."""

from contextlib import asynccontextmanager

import msgspec
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dawdle import Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.telemetry import OpenTelemetry


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def queue(clock):
    return Memory(clock=clock, max_delay=900)


class Trace:
    """The spans that have ended, by name."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the user's own")

    @property
    def spans(self):
        return self._exporter.get_finished_spans()

    @property
    def names(self):
        return sorted(span.name for span in self.spans)

    def all(self, name):
        return [span for span in self.spans if span.name == name]

    def one(self, name):
        (span,) = self.all(name)
        return span


@pytest.fixture
def trace():
    return Trace()


class Figures:
    """What the metrics say now: by name, the points with their attributes."""

    def __init__(self):
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self._reader])

    def points(self, name):
        data = self._reader.get_metrics_data()
        if data is None:
            return []
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return [point for metric in metrics if metric.name == name for point in metric.data.data_points]

    def of(self, name, **labels):
        """The value of the only point with these labels: a count of a histogram, the value of all else."""
        found = [
            point
            for point in self.points(name)
            if all(point.attributes.get(key.replace("__", ".")) == value for key, value in labels.items())
        ]
        (point,) = found
        return getattr(point, "value", None) if hasattr(point, "value") else point.count


@pytest.fixture
def figures():
    figures = Figures()
    yield figures
    figures.provider.shutdown()


@pytest.fixture
def running(registry, queue, clock, trace, figures, no_task_is_left):
    """Enter an app on the held clock."""

    @asynccontextmanager
    async def run(backend=None, *, telemetry=(), otel=None, **options):
        watched = OpenTelemetry(tracer_provider=trace.provider, meter_provider=figures.provider, **(otel or {}))
        options = {"registry": registry, "clock": clock, "telemetry": [watched, *telemetry], **options}
        if "queues" not in options:
            options["backend"] = backend or queue
        async with Dawdle(**options) as app:
            yield app

    return run


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


class ParcelPacked(msgspec.Struct, frozen=True):
    order_id: str
