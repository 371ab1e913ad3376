"""Tells the log of handlers that fail: the first of a sort, and then a count a minute. The rules say which is which."""

import logging
from traceback import TracebackException
from typing import NamedTuple

from dawdle._log import Log
from dawdle._rules.envelope import Envelope
from dawdle._rules.failure_counts import Counted, FailureCounts, FailureGroup
from dawdle.abc import Clock

__all__ = ["FailureLog"]

_log = Log(__name__)


class _Latest(NamedTuple):
    label: str
    attempt: int
    told: str
    traceback: TracebackException | None


class FailureLog:
    """What one app's handlers failed by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = FailureCounts()

    def log(
        self,
        handler: str,
        envelope: Envelope,
        attempt: int,
        most: int,
        told: str,
        error: BaseException,
        *,
        final: bool = False,
    ) -> None:
        """Take note of a failure, and tell it now unless it is one of many. At the level DEBUG each is told.

        `most`: the attempts that the handler has; `final`: it is not tried again all the same. `told`: the error's type
        and message.
        """
        is_last = final or attempt >= most
        sort = FailureGroup(handler, type(error).__qualname__, is_last)
        how = "with traceback"
        if not _log.shows(logging.DEBUG):
            how = self._failures.note(sort, self._clock.monotonic())
        if how in {"with traceback", "in one line"}:
            _log.failure(
                "handler %s failed on %s, attempt %d of %d: %s",
                handler,
                envelope.label,
                attempt,
                most,
                told,
                error=error if how == "with traceback" else None,
                last=is_last,
            )
        elif how == "kept":
            self._failures.keep(sort, _Latest(envelope.label, attempt, told, _traceback_of(error)))

    def log_counted(self, *, all_of_it: bool = False) -> None:
        """Tell what was counted for a minute, or all that was counted."""
        for counted in self._failures.over(self._clock.monotonic(), all_of_them=all_of_it):
            self._log_count(counted)

    def _log_count(self, counted: Counted) -> None:
        sort, latest = counted.sort, counted.latest
        assert isinstance(latest, _Latest), "the first that is counted is kept"
        _log.failure(
            "handler %s failed %s more %s with %s in %.0f s%s; one of the latest, on %s, attempt %d: %s",
            sort.handler,
            f"{counted.times:,}",
            "time" if counted.times == 1 else "times",
            sort.error,
            counted.seconds,
            ", each in its last attempt" if sort.is_last else "",
            latest.label,
            latest.attempt,
            latest.told,
            error=latest.traceback,
            last=sort.is_last,
        )


def _traceback_of(error: BaseException) -> TracebackException | None:
    """Read where an error was raised, and hold neither it nor its frames; None if its own code prevents that."""
    try:
        return TracebackException(type(error), error, error.__traceback__, lookup_lines=False, compact=True)
    except BaseException:  # noqa: BLE001 - an odd error concerns its handler, and the log least of all
        return None
