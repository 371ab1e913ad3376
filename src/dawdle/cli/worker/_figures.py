"""The figures of one process for its port: metrics in Prometheus' format, and the counts that `dawdle top` shows."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import msgspec
from aiohttp import web

from dawdle import Dawdle
from dawdle.cli._stats import Stats
from dawdle.telemetry import Prometheus, prometheus

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

__all__ = ["METRICS_TYPE", "NO_METRICS", "can_measure", "exposition", "watched"]

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of Prometheus' text format."""

PROCESS: Final = "process"
"""The label that tells the processes apart."""

NO_METRICS: Final = "there are no metrics without Prometheus' library: pip install 'dawdle[prometheus]'\n"


def can_measure() -> bool:
    """Whether Prometheus' library is installed."""
    return find_spec("prometheus_client") is not None


def watched(app: Dawdle, name: str) -> list[web.RouteDef]:
    """Let figures of an app be kept, which is not entered, and return the routes that show them."""

    def handlers() -> Mapping[str, Sequence[str]]:
        return {each.name: each.events for each in app.describe().handlers}

    stats = Stats(name, health=app.health, handlers=handlers, queues=app.backends)
    registries = _registries(app) if can_measure() else None
    app.configure(hooks=[stats])

    async def answer_stats(request: web.Request) -> web.Response:
        del request
        return web.json_response(body=msgspec.json.encode([stats.snapshot()]))

    async def answer_metrics(request: web.Request) -> web.Response:
        del request
        if registries is None:
            return web.Response(status=web.HTTPNotFound.status_code, text=NO_METRICS)
        return web.Response(body=exposition(_Joined(registries)), headers={"content-type": METRICS_TYPE})

    return [web.get("/stats", answer_stats), web.get("/metrics", answer_metrics)]


def exposition(families: "_Joined | Merged") -> bytes:
    """Return metrics in Prometheus' text format."""
    from prometheus_client import generate_latest  # noqa: PLC0415 - it is an extra

    return generate_latest(families)


def _registries(app: Dawdle) -> list["CollectorRegistry"]:
    """Return where the metrics of an app are, and those of its process. Metrics are kept from here on."""
    from prometheus_client import REGISTRY, CollectorRegistry  # noqa: PLC0415 - it is an extra

    own = [each.registry for each in app.telemetry if isinstance(each, Prometheus)]
    if not own:
        # Not in the registry of the process: what else is there may have the same names.
        own = [CollectorRegistry()]
        app.configure(telemetry=prometheus(own[0]))
    return list(dict.fromkeys([*own, REGISTRY]))


class _Joined:
    """What several registries have; of a name that two have, what the first has."""

    def __init__(self, registries: Sequence["CollectorRegistry"]) -> None:
        self._registries = registries

    def collect(self) -> Iterator["Metric"]:
        """Yield the families of metrics."""
        seen = set[str]()
        for registry in self._registries:
            for family in registry.collect():
                if family.name not in seen:
                    seen.add(family.name)
                    yield family


class Merged:
    """The metrics of several processes, each told apart by the label `process`."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = texts
        """What each process answers, by its place."""

    def collect(self) -> Iterator["Metric"]:
        """Yield the families of metrics, each once."""
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - it is an extra

        families: dict[str, Metric] = {}
        for place, text in self._texts.items():
            for family in text_string_to_metric_families(text):
                samples = [each._replace(labels=_labeled(each.labels, place)) for each in family.samples]
                family.samples = []
                families.setdefault(family.name, family).samples += samples
        yield from families.values()


def _labeled(labels: Mapping[str, str], place: int) -> dict[str, str]:
    """Return labels with that of a process. One of the app's that has this name gets another, as Prometheus does it."""
    if PROCESS not in labels:
        return {**labels, PROCESS: str(place)}
    kept = f"exported_{PROCESS}"
    while kept in labels:
        kept = f"exported_{kept}"
    renamed = {kept if name == PROCESS else name: value for name, value in labels.items()}
    return {**renamed, PROCESS: str(place)}
