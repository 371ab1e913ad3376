"""The handlers that run now and since when, and the warning about a long run. Ends nothing."""

from collections.abc import Callable
from math import inf
from typing import Final

from dawdle._flow.handler_scope import HandlerRun
from dawdle._log import EventLog
from dawdle._rules.health import LongRunning
from dawdle.abc import Clock

__all__ = ["LONG_RUN_SECONDS", "RunningHandlers"]

_log = EventLog(__name__)

LONG_RUN_SECONDS: Final = 60.0
"""Seconds after which a run is long. A handler with a longer timeout of its own is long after that timeout."""


class RunningHandlers:
    """The runs of one app's handlers. `begin` and `end` are called in the loop or in a thread, the rest in the loop."""

    def __init__(self, clock: Clock, on_first_run: Callable[[], object] = lambda: None) -> None:
        self._clock = clock
        self._on_first_run: Callable[[], object] | None = on_first_run
        self._runs: dict[HandlerRun, None] = {}

    def begin(self, run: HandlerRun) -> None:
        """Note that a handler runs from now on."""
        if self._on_first_run is not None:
            at_first, self._on_first_run = self._on_first_run, None
            at_first()
        self._runs[run] = None

    def end(self, run: HandlerRun) -> None:
        """Note that a run has ended."""
        del self._runs[run]

    def names(self) -> list[str]:
        """Return the name of each handler that runs, once for each run."""
        # A copy, here and below: a thread may begin or end a run while the dict is read.
        return [run.handler.name for run in list(self._runs)]

    def long(self) -> tuple[LongRunning, ...]:
        """Return the handlers that have run for a minute or more, the longest run first."""
        now = self._clock.monotonic()
        found: dict[str, LongRunning] = {}
        for run in list(self._runs):
            seconds = now - run.started
            if seconds >= LONG_RUN_SECONDS:
                name = run.handler.name
                known = found.get(name)
                longest, runs = (seconds, 1) if known is None else (max(known.seconds, seconds), known.runs + 1)
                found[name] = LongRunning(handler=name, runs=runs, seconds=longest)
        return tuple(sorted(found.values(), key=lambda each: -each.seconds))

    def warn_of_long_runs(self) -> float:
        """Warn of each run that has become long, or twice as long; return the time at which to look again."""
        now = self._clock.monotonic()
        soonest = now + LONG_RUN_SECONDS
        for run in list(self._runs):
            warn_after = _warn_after(run)
            if run.started + warn_after <= now:
                self._warn(run, now - run.started)
                # By the same sum as the time that is returned: a difference may round to just below, and the next look
                # would be due at once, again and again.
                while run.started + warn_after <= now:
                    warn_after *= 2
                run.warn_after = warn_after
            soonest = min(soonest, run.started + warn_after)
        return soonest

    def _warn(self, run: HandlerRun, seconds: float) -> None:
        advice = (
            "if it hangs, set a timeout= on the handler or the app"
            if run.handler.is_async
            else "a thread cannot be stopped: make it async def, or set a timeout on the calls that it makes"
        )
        _log.warning(
            "handler %s has been running for %.0f s on %s, attempt %d, and holds its slot; %s",
            run.handler.name,
            seconds,
            run.work.label,
            run.work.attempt,
            advice,
            about=run.work.about(run.handler.name),
        )


def _warn_after(run: HandlerRun) -> float:
    """Return the seconds of running after which the next warning comes."""
    if run.warn_after is not None:
        return run.warn_after
    timeout = run.handler.options.timeout or 0.0
    return LONG_RUN_SECONDS if timeout == inf else max(LONG_RUN_SECONDS, timeout)
