"""`prometheus()`: metrics of an app for Prometheus, by its own client library, which is loaded when one is made."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dawdle import ConfigurationError, Health, hooks
from dawdle.abc import Backend
from dawdle.telemetry._metrics import DESTINATION, GAUGES, HEALTHY, METRICS, OLDEST, SYSTEM, Metric, Recorder
from dawdle.telemetry._queues import Queues, gauges_of

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

__all__ = ["Prometheus", "prometheus"]

_kept: "WeakKeyDictionary[CollectorRegistry, _Collectors]" = WeakKeyDictionary()


def prometheus(registry: "CollectorRegistry | None" = None) -> "Prometheus":
    """Return what keeps the metrics of an app for Prometheus: `Dawdle(telemetry=prometheus())`.

    It needs `pip install "dawdle[prometheus]"`. `registry`: where they are kept, by default the one that
    `prometheus_client.start_http_server()` and `generate_latest()` show. Several apps of a process may share one.

    Raises `ConfigurationError` if the library is missing.
    """
    return Prometheus(registry)


class Prometheus:
    """What `prometheus()` returns. It serves one app at a time."""

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        try:
            from prometheus_client import REGISTRY  # noqa: PLC0415 - it is an extra
        except ImportError as error:
            raise ConfigurationError(
                "prometheus() needs the library prometheus-client: pip install 'dawdle[prometheus]'"
            ) from error
        where = REGISTRY if registry is None else registry
        collectors = _kept.get(where)
        if collectors is None:
            collectors = _kept[where] = _Collectors(where)
        self.registry: CollectorRegistry = where
        """Where the metrics are kept."""
        self._collectors = collectors
        self._queues = Queues()
        self._calls: dict[type[hooks.Moment], Callable[..., None]] = {}

    def entered(self, queues: Mapping[str, Backend], health: Callable[[], Health]) -> bool:
        """Begin to watch an app."""
        if any(watched is self._queues for watched, _ in self._collectors.watched):
            raise ConfigurationError("this prometheus() watches another app already: make one for each app")
        self._queues.know(queues)
        self._calls = Recorder(_Sink(self._collectors, self._queues)).by_moment()
        self._collectors.watched.append((self._queues, health))
        return True

    def left(self) -> None:
        """End: the app was left. Its figures stay."""
        watched = self._collectors.watched
        watched[:] = [each for each in watched if each[0] is not self._queues]

    def watch(self, moment: hooks.Moment) -> None:
        """See a moment."""
        call = self._calls.get(type(moment))
        if call is not None:
            call(moment)

    def headers(self, _: hooks.Trace | None) -> dict[str, str]:
        """Return no headers: Prometheus knows no traces."""
        return {}


class _Sink:
    def __init__(self, collectors: "_Collectors", queues: Queues) -> None:
        self._collectors = collectors
        self._queues = queues

    def child(self, metric: Metric, queue: str, values: tuple[str, ...]) -> Callable[[float], object]:
        """Return what adds to a counter, or records in a histogram, under these labels."""
        labels = (*_queue_labels(self._queues, queue), *values)
        if metric.kind == "counter":
            return self._collectors.counters[metric.name].labels(*labels).inc
        return self._collectors.histograms[metric.name].labels(*labels).observe


class _Collectors:
    """The metrics in one registry, which would refuse a second set of the same names."""

    def __init__(self, registry: "CollectorRegistry") -> None:
        from prometheus_client import Counter, Histogram  # noqa: PLC0415 - as above

        self.counters: dict[str, Counter] = {}
        self.histograms: dict[str, Histogram] = {}
        self.watched: list[tuple[Queues, Callable[[], Health]]] = []
        for metric in METRICS:
            name, labels = prometheus_name(metric), tuple(map(_sanitized, (SYSTEM, DESTINATION, *metric.labels)))
            if metric.kind == "counter":
                self.counters[metric.name] = Counter(name, metric.text, labels, registry=registry)
            else:
                buckets = metric.buckets
                self.histograms[metric.name] = Histogram(name, metric.text, labels, registry=registry, buckets=buckets)
        registry.register(self)

    def collect(self) -> "Iterator[Family]":
        """Yield the gauges as they are now. Prometheus asks in a thread of its own."""
        from prometheus_client.metrics_core import GaugeMetricFamily  # noqa: PLC0415 - as above

        families = {
            metric.name: GaugeMetricFamily(
                prometheus_name(metric), metric.text, labels=[_sanitized(SYSTEM), _sanitized(DESTINATION)]
            )
            for metric in GAUGES
        }
        # Apps may have queues of one name, and a process is as healthy as its worst app: of two samples with the same
        # labels Prometheus would keep one.
        values: dict[tuple[Metric, tuple[str, str]], float] = {}
        for queues, health in list(self.watched):
            for metric, queue, value in gauges_of(health):
                key = metric, _queue_labels(queues, queue)
                values[key] = _joined(metric, values[key], value) if key in values else value
        for (metric, labels), value in values.items():
            families[metric.name].add_metric(list(labels), value)
        yield from families.values()


def _joined(metric: Metric, one: float, other: float) -> float:
    """Return what one gauge of two apps is."""
    if metric is HEALTHY:
        return min(one, other)
    return max(one, other) if metric is OLDEST else one + other


def _queue_labels(queues: Queues, queue: str) -> tuple[str, str]:
    if not queue:
        return "", ""
    facts = queues.of(queue)
    return str(facts[SYSTEM]), str(facts[DESTINATION])


@cache
def prometheus_name(metric: Metric) -> str:
    """Return a metric's name as OpenTelemetry's exporter for Prometheus writes it; `_total` is added by the client."""
    name = _sanitized(metric.name)
    return f"{name}_seconds" if metric.unit == "s" else name


def _sanitized(name: str) -> str:
    return name.replace(".", "_")
