"""`OpenTelemetry`: traces and metrics of an app by OpenTelemetry's API. The library is loaded when one is made."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

import dawdle
from dawdle import ConfigurationError, Health, hooks
from dawdle.abc import Backend
from dawdle.telemetry._metrics import Recorder
from dawdle.telemetry._queues import Queues

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from dawdle.telemetry._otel_metrics import MeterSink

__all__ = ["OpenTelemetry"]

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
_NAME: Final = "dawdle"

_log = logging.getLogger(__name__)


class OpenTelemetry:
    """Traces and metrics of an app: `Dawdle(telemetry=OpenTelemetry())`. One object serves one app at a time.

    It needs `pip install "dawdle[otel]"`, which is OpenTelemetry's API. Where spans and figures go is the matter of the
    SDK, which the program sets up, as for all of its libraries, before it enters the app. Without one nothing is made,
    and a trace that an event came with still goes on to the events that its handlers signal.

    - `consumer_spans`: "child" makes the spans of handlers, retries and settlements children of the span that signaled
      the event, so that one trace has all of it. "linked" gives them traces of their own, which link to that span.
    - `baggage`: whether W3C Baggage travels with an event too, and is set around its handlers.
    - `tracer_provider`, `meter_provider`: instead of the global ones.

    Raises `ConfigurationError` if the library is missing, or for an option that cannot work.
    """

    def __init__(
        self,
        *,
        consumer_spans: Literal["child", "linked"] = "child",
        baggage: bool = False,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
    ) -> None:
        try:
            from dawdle.telemetry._spans import Spans  # noqa: PLC0415 - it is an extra
        except ImportError as error:
            raise ConfigurationError(
                "OpenTelemetry() needs the library opentelemetry-api: pip install 'dawdle[otel]'"
            ) from error
        if consumer_spans not in {"child", "linked"}:
            raise ConfigurationError(f'consumer_spans is "child" or "linked", not {consumer_spans!r}')
        self._given = tracer_provider, meter_provider
        self._queues = Queues()
        self._is_in_use = False
        self._spans = Spans(self._queues, consumer_spans=consumer_spans, baggage=baggage)
        self._meters: MeterSink | None = None
        self._calls: dict[type[hooks.Moment], tuple[Callable[..., None], ...]] = {}

    def entered(self, queues: Mapping[str, Backend], health: Callable[[], Health]) -> bool:
        """Begin to watch an app; return whether there is a provider that keeps what is seen."""
        from opentelemetry import metrics, trace  # noqa: PLC0415 - as above

        from dawdle.telemetry._otel_metrics import MeterSink, keeps_figures  # noqa: PLC0415

        if self._is_in_use:
            raise ConfigurationError("this OpenTelemetry() watches another app already: make one for each app")
        self._queues.know(queues)
        tracers = self._given[0] or trace.get_tracer_provider()
        self._spans.use(tracers.get_tracer(_NAME, dawdle.__version__, SCHEMA_URL))
        parts = [] if self._spans.is_idle else [self._spans.by_moment()]
        meters = self._given[1] or metrics.get_meter_provider()
        meter = meters.get_meter(_NAME, dawdle.__version__, SCHEMA_URL)
        if keeps_figures(meter):
            self._meters = MeterSink(meters, meter, self._queues)
            self._meters.watch(health)
            parts.append(Recorder(self._meters).by_moment())
        self._calls = {
            moment: tuple(part[moment] for part in parts if moment in part)
            for moment in {moment for part in parts for moment in part}
        }
        self._is_in_use = True  # last: if a provider fails, the app goes on without this, and may be entered again
        if not parts:
            _log.info(
                "OpenTelemetry has no provider of spans or metrics, so a trace travels with events and nothing is "
                "recorded: set up its SDK before the app is entered"
            )
        return bool(parts)

    def left(self) -> None:
        """End: the app was left."""
        self._spans.end_receives()
        if self._meters is not None:
            self._meters.unwatch()
            self._meters = None
        self._is_in_use = False

    def watch(self, moment: hooks.Moment) -> None:
        """See a moment."""
        for call in self._calls.get(type(moment), ()):
            call(moment)

    def headers(self, handled: hooks.Trace | None) -> dict[str, str]:
        """Return the headers by which the event that is being signaled names its trace."""
        return self._spans.headers(handled)
