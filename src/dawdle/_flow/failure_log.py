"""Logs failed handlers: the first failure of a group in full, then a count each minute. The rules group them."""

import logging
from traceback import TracebackException
from typing import NamedTuple

from dawdle._flow.in_flight_message import Work
from dawdle._log import About, EventLog
from dawdle._rules.failure_counts import Counted, FailureCounts, FailureGroup
from dawdle.abc import Clock

__all__ = ["FailureLog"]

_log = EventLog(__name__)


class _Latest(NamedTuple):
    label: str
    about: About
    attempt: int
    error_text: str
    traceback: TracebackException | None


class FailureLog:
    """The failures of one app's handlers, counted by handler and error."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = FailureCounts()

    def log(
        self,
        work: Work,
        handler: str,
        max_attempts: int,
        error_text: str,
        error: BaseException,
        *,
        final: bool = False,
    ) -> None:
        """Count a failure, and log it now unless it is one of many. At the level DEBUG each failure is logged.

        `error_text`: the error's type and message; `final`: there is no next attempt, whatever `max_attempts` says.
        """
        is_last = final or work.attempt >= max_attempts
        group = FailureGroup(handler, type(error).__qualname__, is_last)
        how = "with traceback"
        if not _log.shows(logging.DEBUG):
            how = self._failures.note(group, self._clock.monotonic())
        if how in {"with traceback", "in one line"}:
            _log.failure(
                "handler %s failed on %s, attempt %d of %d: %s",
                handler,
                work.label,
                work.attempt,
                max_attempts,
                error_text,
                about=work.about(handler),
                error=error if how == "with traceback" else None,
                last=is_last,
            )
        elif how == "kept":
            # The count that is logged later shows this failure as its example. The error itself is not kept: it would
            # keep the handler's frames alive, with the event and all other locals.
            self._failures.keep(
                group, _Latest(work.label, work.about(handler), work.attempt, error_text, _traceback_of(error))
            )

    def log_counted(self, *, all_of_it: bool = False) -> None:
        """Log the groups that were counted for a minute; `all_of_it`: all that were counted, since the app closes."""
        for counted in self._failures.expired(self._clock.monotonic(), all_of_them=all_of_it):
            self._log_count(counted)

    def _log_count(self, counted: Counted) -> None:
        group, latest = counted.group, counted.latest
        assert isinstance(latest, _Latest), "the first failure of a count is kept"
        _log.failure(
            "handler %s failed %s more %s with %s in %.0f s%s; one of the latest, on %s, attempt %d: %s",
            group.handler,
            f"{counted.times:,}",
            "time" if counted.times == 1 else "times",
            group.error,
            counted.seconds,
            ", each on its last attempt" if group.is_last else "",
            latest.label,
            latest.attempt,
            latest.error_text,
            about=latest.about,
            error=latest.traceback,
            last=group.is_last,
        )


def _traceback_of(error: BaseException) -> TracebackException | None:
    """Return an error's traceback without the error and its frames; None if the error's own code prevents that."""
    try:
        return TracebackException(type(error), error, error.__traceback__, lookup_lines=False, compact=True)
    except BaseException:  # noqa: BLE001 - an error whose own __str__ raises must not fail what logs it
        return None
