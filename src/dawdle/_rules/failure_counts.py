"""Decides which failures are logged one by one, and which are counted. Logs nothing, and reads no clock.

Ten thousand failures alike must not fill a disk with tracebacks. Of one handler's failures with one type of error, the
first is logged with its traceback. Those within the next minute are counted, and logged in one line when it is over,
with the traceback of one of the latest, since the cause may have changed. Last attempts are counted apart from attempts
that are tried again.
"""

from collections.abc import Iterator
from math import inf
from typing import Final, Literal, NamedTuple

__all__ = ["COUNT_SECONDS", "MAX_GROUPS", "Counted", "FailureCounts", "FailureGroup"]

COUNT_SECONDS: Final = 60.0
"""Seconds for which the failures of one group are counted before they are logged."""

FORGET_SECONDS: Final = 3600.0
"""Seconds without a failure after which a group is new again, and is logged with its traceback."""

KEEP_SECONDS: Final = 1.0
"""Seconds between two failures of which the traceback is kept: formatting one costs far more than counting."""

MAX_GROUPS: Final = 1000
"""Groups that are remembered. Beyond that the oldest are logged early, and forgotten."""


class FailureGroup(NamedTuple):
    """What makes failures alike."""

    handler: str
    error: str
    """The type of the error, by name."""
    is_last: bool
    """It was the last attempt."""


class Counted(NamedTuple):
    """Failures that were counted and not logged one by one."""

    group: FailureGroup
    times: int
    seconds: float
    """For how long they were counted."""
    latest: object
    """The failure that is shown: one of the latest."""


class _Group:
    __slots__ = ("count", "kept_at", "latest", "logged_at")

    def __init__(self, now: float) -> None:
        self.logged_at = now
        self.kept_at = -inf
        self.count = 0
        self.latest: object = None


class FailureCounts:
    """The groups of failures of the last hour. All times are by one monotonic clock."""

    def __init__(self) -> None:
        self._groups: dict[FailureGroup, _Group] = {}  # the one that was logged longest ago comes first

    def note(self, group: FailureGroup, now: float) -> Literal["with traceback", "in one line", "counted", "kept"]:
        """Note a failure, and return how it is logged. `kept` is counted too, and `keep` is called with it."""
        known = self._groups.get(group)
        if known is not None and (known.count or now - known.logged_at < COUNT_SECONDS):
            known.count += 1
            if now - known.kept_at < KEEP_SECONDS:
                return "counted"
            known.kept_at = now
            return "kept"
        self._groups.pop(group, None)
        self._groups[group] = _Group(now)
        is_new = known is None or now - known.logged_at >= FORGET_SECONDS
        return "with traceback" if is_new or group.is_last else "in one line"

    def keep(self, group: FailureGroup, latest: object) -> None:
        """Keep a failure to be shown when its group is logged."""
        self._groups[group].latest = latest

    def expired(self, now: float, *, all_of_them: bool = False) -> Iterator[Counted]:
        """Yield, once each, the groups that were counted for a minute, all groups, or the oldest of too many."""
        for group, known in list(self._groups.items()):
            surplus = len(self._groups) > MAX_GROUPS
            if not (surplus or all_of_them or now - known.logged_at >= COUNT_SECONDS):
                break  # all behind it were logged later
            count, seconds, latest = known.count, now - known.logged_at, known.latest
            if surplus or (not count and seconds >= FORGET_SECONDS):
                del self._groups[group]
            elif count:
                # Put in anew, so that the dict stays in the order of logging.
                del self._groups[group]
                self._groups[group] = _Group(now)
            if count:
                yield Counted(group, count, seconds, latest)
