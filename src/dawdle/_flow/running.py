"""What runs now, handler by handler, and since when; and the warning about one that runs for long. Ends nothing."""

from collections.abc import Callable
from math import inf
from typing import Final

from dawdle._log import Log
from dawdle._rules.envelope import Envelope
from dawdle._rules.handler import Handler
from dawdle._rules.health import LongRunning
from dawdle.abc import Clock

__all__ = ["LONG", "Running"]

_log = Log(__name__)

LONG: Final = 60.0
"""Seconds after which a run is long; one of a handler with a longer timeout of its own is when that is over."""


class _Run:
    __slots__ = ("envelope", "handler", "started", "told_after")

    def __init__(self, handler: Handler, envelope: Envelope, started: float) -> None:
        self.handler = handler
        self.envelope = envelope
        self.started = started
        timeout = handler.options.timeout or 0.0
        self.told_after = LONG if timeout == inf else max(LONG, timeout)
        """Seconds of running after which it is told next."""

    @property
    def due(self) -> float:
        return self.started + self.told_after


class Running:
    """The runs of one app's handlers. `begin` and `end` are called in the loop or in a thread, the rest in the loop."""

    def __init__(self, clock: Clock, at_first: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._at_first: Callable[[], object] | None = at_first
        self._runs: dict[int, _Run] = {}

    def begin(self, handler: Handler, envelope: Envelope) -> object:
        """Note that a handler runs from now on, and return what `end` wants."""
        if self._at_first is not None:
            at_first, self._at_first = self._at_first, None
            at_first()
        run = _Run(handler, envelope, self._clock.monotonic())
        self._runs[id(run)] = run
        return run

    def end(self, run: object) -> None:
        """Note that a run is over."""
        del self._runs[id(run)]

    def names(self) -> list[str]:
        """Return the name of each handler that runs, once for each run."""
        return [run.handler.name for run in list(self._runs.values())]

    def long(self) -> tuple[LongRunning, ...]:
        """Return the handlers that have run for a minute or more, the longest first."""
        now = self._clock.monotonic()
        found: dict[str, LongRunning] = {}
        for run in list(self._runs.values()):  # the oldest first
            seconds = now - run.started
            if seconds >= LONG:
                name = run.handler.name
                known = found.get(name)
                longest, runs = (seconds, 1) if known is None else (known.seconds, known.runs + 1)
                found[name] = LongRunning(handler=name, runs=runs, seconds=longest)
        return tuple(found.values())

    def tell(self) -> float:
        """Warn of each run that has become long, or twice as long; return the moment at which to look again."""
        now = self._clock.monotonic()
        soonest = now + LONG
        for run in list(self._runs.values()):
            if run.due <= now:
                self._warn(run, now - run.started)
                while run.due <= now:
                    run.told_after *= 2
            soonest = min(soonest, run.due)
        return soonest

    def _warn(self, run: _Run, seconds: float) -> None:
        advice = (
            "if it hangs, a timeout= of the handler or the app ends it"
            if run.handler.is_async
            else "a thread cannot be ended: make it async def, or give what it calls a timeout"
        )
        _log.warning(
            "handler %s has been running for %.0f s on %s, attempt %d, and keeps its slot meanwhile; %s",
            run.handler.name,
            seconds,
            run.envelope.label,
            run.envelope.attempt,
            advice,
        )
