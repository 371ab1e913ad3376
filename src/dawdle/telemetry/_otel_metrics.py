"""Keeps the metrics by OpenTelemetry's API: one set of instruments for each provider, whatever apps use it."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final
from weakref import WeakKeyDictionary

from opentelemetry.metrics import CallbackOptions, Counter, Histogram, Meter, MeterProvider, Observation
from opentelemetry.util.types import AttributeValue

from dawdle import Health
from dawdle.telemetry._metrics import DESTINATION, GAUGES, METRICS, SYSTEM, Metric
from dawdle.telemetry._queues import Queues, gauges_of

__all__ = ["MeterSink", "keeps_figures"]

_OF_A_QUEUE: Final = (SYSTEM, DESTINATION, "server.address")

_kept: WeakKeyDictionary[MeterProvider, "_Instruments"] = WeakKeyDictionary()


def keeps_figures(meter: Meter) -> bool:
    """Whether a meter is not one of the API's own, which keep nothing: these stand in until a provider is set."""
    return not type(meter).__module__.startswith("opentelemetry.metrics")


class _Instruments:
    """The instruments of one provider. It would refuse a second set of the same names."""

    def __init__(self, meter: Meter) -> None:
        self.by_name: dict[str, Counter | Histogram] = {}
        self.watched: list[tuple[Queues, Callable[[], Health]]] = []
        for metric in METRICS:
            if metric.kind == "counter":
                self.by_name[metric.name] = meter.create_counter(metric.name, metric.unit, metric.text)
            else:
                self.by_name[metric.name] = meter.create_histogram(
                    metric.name, metric.unit, metric.text, explicit_bucket_boundaries_advisory=metric.buckets
                )
        for metric in GAUGES:
            meter.create_observable_gauge(metric.name, [partial(self._observe, metric)], metric.unit, metric.text)

    def _observe(self, metric: Metric, _: CallbackOptions) -> Iterable[Observation]:
        for queues, health in list(self.watched):
            for each, queue, value in gauges_of(health):
                if each is metric:
                    yield Observation(value, _attributes(queues, metric, queue, ()))


class MeterSink:
    """Keeps the figures of one app."""

    def __init__(self, provider: MeterProvider, meter: Meter, queues: Queues) -> None:
        found = _kept.get(provider)
        if found is None:
            found = _kept[provider] = _Instruments(meter)
        self._instruments = found
        self._queues = queues

    def child(self, metric: Metric, queue: str, values: tuple[str, ...]) -> Callable[[float], object]:
        """Return what adds to a counter, or records in a histogram, with these attributes."""
        instrument = self._instruments.by_name[metric.name]
        attributes = _attributes(self._queues, metric, queue, values)
        if isinstance(instrument, Counter):
            return partial(_add, instrument, attributes)
        return partial(_record, instrument, attributes)

    def watch(self, health: Callable[[], Health]) -> None:
        """Observe the gauges of an app."""
        self._instruments.watched.append((self._queues, health))

    def unwatch(self) -> None:
        """Observe them no more."""
        watched = self._instruments.watched
        watched[:] = [each for each in watched if each[0] is not self._queues]


def _add(counter: Counter, attributes: dict[str, AttributeValue], amount: float) -> None:
    counter.add(amount, attributes)


def _record(histogram: Histogram, attributes: dict[str, AttributeValue], amount: float) -> None:
    histogram.record(amount, attributes)


def _attributes(queues: Queues, metric: Metric, queue: str, values: tuple[str, ...]) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        name: value for name, value in zip(metric.labels, values, strict=True) if value
    }
    if queue:
        facts = queues.of(queue)
        attributes |= {name: facts[name] for name in _OF_A_QUEUE if name in facts}
    return attributes
