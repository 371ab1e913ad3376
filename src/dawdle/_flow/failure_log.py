"""Logs failed handlers: the first failure of a group in full, then lines that count. The rules group them."""

import logging
from datetime import UTC, datetime
from typing import NamedTuple

from dawdle._flow.in_flight_message import Work
from dawdle._log import MAX_VALUE_CHARACTERS, About, EventLog
from dawdle._rules.failure_counts import Counted, FailureCounts, group_of, ordinal
from dawdle._rules.outcome import error_text
from dawdle.abc import Clock
from dawdle.errors import one_line

__all__ = ["FailureLog"]

_log = EventLog(__name__)


class _Failure(NamedTuple):
    """A failure that is counted. The error itself is not kept: its frames hold the event, and all other locals."""

    label: str
    about: About
    attempt: int
    error_text: str


class FailureLog:
    """The failures of one app's handlers, counted by handler, error and where it was raised."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = FailureCounts()

    def log(
        self,
        work: Work,
        handler: str,
        max_attempts: int,
        text: str,
        error: BaseException,
        *,
        final: bool = False,
    ) -> None:
        """Count a failure, and log it now unless it is one of many. At the level DEBUG each failure is logged.

        `text`: the error's type and message; `final`: there is no next attempt, whatever `max_attempts` says.
        """
        failure = _Failure(work.label, work.about(handler), work.attempt, text[:MAX_VALUE_CHARACTERS])
        self._log(handler, failure, max_attempts, error, is_last=final or work.attempt >= max_attempts)

    def log_of_letter(self, about: About, error: BaseException) -> None:
        """Count and log the failure of a handler of letters, `about.handler`, which has one attempt."""
        label = f"the dead letter of {one_line(str(about.event_type))} {one_line(str(about.event_id))}"
        failure = _Failure(label, about, 1, error_text(error)[:MAX_VALUE_CHARACTERS])
        self._log(str(about.handler), failure, 1, error, is_last=True)

    def _log(self, handler: str, failure: _Failure, max_attempts: int, error: BaseException, *, is_last: bool) -> None:
        how, times, since = self._failures.note(
            group_of(handler, error, is_last=is_last), self._clock.monotonic(), failure
        )
        if self._failures.is_crowded:
            self.log_counted()
        if _log.shows(logging.DEBUG):
            how = "with traceback"
        if how == "counted":
            return
        trace = error if how == "with traceback" else None
        if times == 1:
            _log.failure(
                "handler %s failed on %s, attempt %d of %d: %s",
                handler,
                failure.label,
                failure.attempt,
                max_attempts,
                failure.error_text,
                about=failure.about,
                error=trace,
                last=is_last,
            )
        else:
            _log.failure(
                "handler %s failed on %s, attempt %d of %d, for the %s time since %s, where the traceback is: %s",
                handler,
                failure.label,
                failure.attempt,
                max_attempts,
                ordinal(times),
                self._time_of(since),
                failure.error_text,
                about=failure.about,
                error=trace,
                last=is_last,
            )

    def log_counted(self, *, all_of_it: bool = False) -> None:
        """Log the groups that were counted for a minute; `all_of_it`: all that were counted, since the app closes."""
        for counted in self._failures.expired(self._clock.monotonic(), all_of_them=all_of_it):
            if not _log.shows(logging.DEBUG):  # there each of them was logged
                self._log_count(counted)

    def _log_count(self, counted: Counted) -> None:
        group, latest = counted.group, counted.latest
        assert isinstance(latest, _Failure), "the latest failure of a count is kept"
        _log.failure(
            "handler %s failed %s more %s with %s in %.0f s%s, %s times since %s, where the traceback is; the latest, "
            "on %s, attempt %d: %s",
            group.handler,
            f"{counted.more:,}",
            "time" if counted.more == 1 else "times",
            f"{group.error} at {group.raised_at}" if group.raised_at else group.error,
            counted.seconds,
            ", each on its last attempt" if group.is_last else "",
            f"{counted.times:,}",
            self._time_of(counted.since),
            latest.label,
            latest.attempt,
            latest.error_text,
            about=latest.about,
            error=None,
            last=group.is_last,
        )

    def _time_of(self, moment: float) -> str:
        """Return a time of the monotonic clock as the log's reader knows it, in UTC."""
        then = self._clock.now() - (self._clock.monotonic() - moment)
        return f"{datetime.fromtimestamp(then, UTC):%Y-%m-%dT%H:%M:%SZ}"
