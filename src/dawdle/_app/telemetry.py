"""What `Dawdle(telemetry=…)` takes, and how an app calls it: like a hook, it can fail and changes nothing by that."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

from dawdle._log import Log
from dawdle._rules.envelope import check_headers
from dawdle._rules.health import Health
from dawdle.abc import Backend
from dawdle.errors import ConfigurationError, shown
from dawdle.hooks import Hook, Moment, Trace

__all__ = ["Telemetry", "TelemetryCaller", "read_telemetry"]

_log = Log(__name__)


@runtime_checkable
class Telemetry(Protocol):
    """What watches an app and lets a trace travel: `dawdle.telemetry.OpenTelemetry()`, or an object of your own.

    All of its methods are called in the app's event loop. What one of them raises is logged, and changes nothing.
    """

    def entered(self, queues: Mapping[str, Backend], health: Callable[[], Health], /) -> bool:
        """Begin to watch an app that is about to open its queues; return whether `watch` is to see its moments.

        If not, no moment is made for it: a trace travels, and costs what `headers` does. `queues` are by name. `health`
        is the app's own, and may be called at any time until `left`, in any thread. A `ConfigurationError` is raised to
        the caller who enters the app.
        """
        ...

    def left(self) -> None:
        """End: the app was left, or could not be entered."""
        ...

    def watch(self, moment: Moment, /) -> None:
        """See a moment, as a hook does."""
        ...

    def headers(self, handled: Trace | None, /) -> Mapping[str, str]:
        """Return the headers by which the event that is being signaled names its trace. Those of the user win.

        `handled`: the trace of the event whose handler signals; None outside of handlers, or if it has none. It is
        called in the task of the signal, right after the moment `SignalStarted` of the same event; in a transaction of
        the caller's there is no such moment.
        """
        ...


class TelemetryCaller:
    """Calls one or several pieces of telemetry. An error that one raises is logged, and changes nothing else."""

    def __init__(self, parts: Sequence[Telemetry]) -> None:
        self.parts = tuple(parts)
        self._entered: list[Telemetry] = []

    def entered(self, queues: Mapping[str, Backend], health: Callable[[], Health]) -> list[Hook]:
        """Tell that the app is being entered, and return the hooks that are to see its moments.

        Raises a `ConfigurationError` of one of them.
        """
        watching, before = list[Hook](), len(self._entered)
        for part in self.parts:
            try:
                if part.entered(queues, health):
                    watching.append(part.watch)
                self._entered.append(part)
            except ConfigurationError:
                # The app that a test stands in for has the same object, and may be entered too: it goes on.
                self._leave_from(before)
                raise
            except Exception:  # noqa: BLE001 - telemetry must not end what it watches
                _log_error(part, "entered")
        return watching

    def left(self) -> None:
        """Tell those who were told of the app that it was left."""
        self._leave_from(0)

    def _leave_from(self, first: int) -> None:
        while len(self._entered) > first:
            part = self._entered.pop()
            try:
                part.left()
            except Exception:  # noqa: BLE001 - as above
                _log_error(part, "left")

    def headers(self, handled: Trace | None) -> dict[str, str]:
        """Return the headers of all of them."""
        headers: dict[str, str] = {}
        for part in self._entered:
            try:
                given = part.headers(handled)
                check_headers(given)
                headers.update(given)
            except Exception:  # noqa: BLE001 - as above
                _log_error(part, "headers")
        return headers


def read_telemetry(given: object) -> tuple[Telemetry, ...]:
    """Return what is given as `telemetry=`. Raises `ConfigurationError` for what is none."""
    if given is None:
        return ()
    listed = list(cast("Sequence[object]", given)) if isinstance(given, (list, tuple)) else [given]
    for each in listed:
        if isinstance(each, type) or not isinstance(each, Telemetry):
            called = f": write {getattr(each, '__name__', 'it')}()" if callable(each) else ""
            raise ConfigurationError(
                f"telemetry is an object such as dawdle.telemetry.OpenTelemetry(), or a list of them, not "
                f"{shown(each)}{called}"
            )
    kinds = Counter(type(each).__name__ for each in listed)
    for kind, count in kinds.items():
        if count > 1:
            raise ConfigurationError(
                f"telemetry has {count} objects {kind}, and each would count every event: give one, and let its "
                f"provider or registry export to several places"
            )
    return tuple(cast("list[Telemetry]", listed))


def _log_error(part: Telemetry, name: str) -> None:
    _log.exception("telemetry %r raised an error in %s(): the error is ignored, and the app goes on", part, name)
