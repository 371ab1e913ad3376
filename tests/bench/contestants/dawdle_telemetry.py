"""dawdle in memory, watched: what each kind of telemetry adds to it."""

from collections.abc import Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry

from dawdle import Telemetry
from dawdle.backends.memory import Memory
from dawdle.telemetry import OpenTelemetry, prometheus
from tests.bench.contestants._dawdle import App
from tests.bench.work import Setting


class Watched(App):
    """An app with telemetry."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, Memory(), self.telemetry())

    def telemetry(self) -> Sequence[Telemetry]:
        """Return what watches it."""
        raise NotImplementedError


class NoOp(Watched):
    """OpenTelemetry's API, and providers that keep nothing: a program without the SDK."""

    def telemetry(self) -> Sequence[Telemetry]:
        return [OpenTelemetry(tracer_provider=NoOpTracerProvider())]


class Unsampled(Watched):
    """Traces that are not sampled: each span is made, and not kept."""

    def telemetry(self) -> Sequence[Telemetry]:
        return [OpenTelemetry(tracer_provider=TracerProvider(sampler=ALWAYS_OFF))]


class Dropped(SpanProcessor):
    """Where spans go: nowhere, so that no exporter is measured."""

    def on_end(self, span: ReadableSpan) -> None:
        del span


class Sampled(Watched):
    """Each span is made and ended."""

    def telemetry(self) -> Sequence[Telemetry]:
        provider = TracerProvider()
        provider.add_span_processor(Dropped())
        return [OpenTelemetry(tracer_provider=provider)]


class Metered(Watched):
    """Metrics by the SDK, and no spans."""

    def telemetry(self) -> Sequence[Telemetry]:
        meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
        return [OpenTelemetry(tracer_provider=NoOpTracerProvider(), meter_provider=meters)]


class Prometheus(Watched):
    """Metrics by Prometheus' client."""

    def telemetry(self) -> Sequence[Telemetry]:
        return [prometheus(CollectorRegistry())]
