"""The handlers that run now and since when, and the warning about a long run. Ends nothing."""

from collections.abc import Callable
from math import inf
from typing import Final

from dawdle._handlers.handler import Handler
from dawdle._log import Log
from dawdle._rules.envelope import Envelope
from dawdle._rules.health import LongRunning
from dawdle.abc import Clock

__all__ = ["LONG_RUN_SECONDS", "RunningHandlers"]

_log = Log(__name__)

LONG_RUN_SECONDS: Final = 60.0
"""Seconds after which a run is long. A handler with a longer timeout of its own is long after that timeout."""


class _Run:
    __slots__ = ("attempt", "envelope", "handler", "started", "warn_after")

    def __init__(self, handler: Handler, envelope: Envelope, attempt: int, started: float) -> None:
        self.handler = handler
        self.envelope = envelope
        self.attempt = attempt
        self.started = started
        timeout = handler.options.timeout or 0.0
        self.warn_after = LONG_RUN_SECONDS if timeout == inf else max(LONG_RUN_SECONDS, timeout)
        """Seconds of running after which the next warning comes."""

    @property
    def due(self) -> float:
        return self.started + self.warn_after


class RunningHandlers:
    """The runs of one app's handlers. `begin` and `end` are called in the loop or in a thread, the rest in the loop."""

    def __init__(self, clock: Clock, on_first_run: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._on_first_run: Callable[[], object] | None = on_first_run
        self._runs: dict[int, _Run] = {}

    def begin(self, handler: Handler, envelope: Envelope, attempt: int) -> object:
        """Note that a handler runs from now on, and return the argument of `end`."""
        if self._on_first_run is not None:
            at_first, self._on_first_run = self._on_first_run, None
            at_first()
        run = _Run(handler, envelope, attempt, self._clock.monotonic())
        self._runs[id(run)] = run
        return run

    def end(self, run: object) -> None:
        """Note that a run has ended."""
        del self._runs[id(run)]

    def names(self) -> list[str]:
        """Return the name of each handler that runs, once for each run."""
        # A copy, here and below: a thread may begin or end a run while the dict is read.
        return [run.handler.name for run in list(self._runs.values())]

    def long(self) -> tuple[LongRunning, ...]:
        """Return the handlers that have run for a minute or more, the longest run first."""
        now = self._clock.monotonic()
        found: dict[str, LongRunning] = {}
        for run in list(self._runs.values()):  # the oldest first
            seconds = now - run.started
            if seconds >= LONG_RUN_SECONDS:
                name = run.handler.name
                known = found.get(name)
                longest, runs = (seconds, 1) if known is None else (known.seconds, known.runs + 1)
                found[name] = LongRunning(handler=name, runs=runs, seconds=longest)
        return tuple(found.values())

    def warn_of_long_runs(self) -> float:
        """Warn of each run that has become long, or twice as long; return the time at which to look again."""
        now = self._clock.monotonic()
        soonest = now + LONG_RUN_SECONDS
        for run in list(self._runs.values()):
            if run.due <= now:
                self._warn(run, now - run.started)
                while run.due <= now:
                    run.warn_after *= 2
            soonest = min(soonest, run.due)
        return soonest

    def _warn(self, run: _Run, seconds: float) -> None:
        advice = (
            "if it hangs, set a timeout= on the handler or the app"
            if run.handler.is_async
            else "a thread cannot be stopped: make it async def, or set a timeout on the calls that it makes"
        )
        _log.warning(
            "handler %s has been running for %.0f s on %s, attempt %d, and holds its slot; %s",
            run.handler.name,
            seconds,
            run.envelope.label,
            run.attempt,
            advice,
        )
