"""Which failures are told one by one, and which are counted: ten thousand alike are not ten thousand tracebacks.

Of one handler's failures with one sort of error the first is told with its traceback. What follows within a minute is
counted, and told in one line when the minute is over, with the traceback of one of the latest: so what comes last is
shown too. An attempt that was the last is counted apart from one that is tried again.
"""

from collections.abc import Iterator
from math import inf
from typing import Final, Literal, NamedTuple

__all__ = ["COUNT_SECONDS", "MAX_GROUPS", "Counted", "FailureCounts", "FailureGroup"]

COUNT_SECONDS: Final = 60.0
"""Seconds for which failures of one sort are counted before they are told."""

FORGET_SECONDS: Final = 3600.0
"""Seconds after which a sort that was tried again is new once more, and has its traceback."""

KEEP_SECONDS: Final = 1.0
"""Seconds from one counted failure that is kept to be shown to the next: reading a traceback costs more than a line."""

MAX_GROUPS: Final = 1000
"""Sorts that are remembered; beyond that the oldest are told, and forgotten."""


class FailureGroup(NamedTuple):
    """What makes failures alike."""

    handler: str
    error: str
    """The type of the error, by name."""
    is_last: bool
    """It was the last attempt."""


class Counted(NamedTuple):
    """Failures that were counted and not told."""

    group: FailureGroup
    times: int
    seconds: float
    """For how long they were counted."""
    latest: object
    """What was kept of one of the latest."""


class _Group:
    __slots__ = ("count", "kept_at", "latest", "logged_at")

    def __init__(self, now: float) -> None:
        self.logged_at = now
        self.kept_at = -inf
        self.count = 0
        self.latest: object = None


class FailureCounts:
    """The sorts of failures that were seen lately. Times are those of one clock that never goes back."""

    def __init__(self) -> None:
        self._groups: dict[FailureGroup, _Group] = {}  # in the order in which they were last told

    def note(self, group: FailureGroup, now: float) -> Literal["with traceback", "in one line", "counted", "kept"]:
        """Note a failure, and return how it is told. One that is kept is counted, and may be shown: see `keep`."""
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
        """Keep what is to be shown of a failure that is kept."""
        self._groups[group].latest = latest

    def expired(self, now: float, *, all_of_them: bool = False) -> Iterator[Counted]:
        """Yield, once each, what was counted for long enough, or all; too many sorts are told early, and forgotten."""
        for group, known in list(self._groups.items()):
            surplus = len(self._groups) > MAX_GROUPS
            if not (surplus or all_of_them or now - known.logged_at >= COUNT_SECONDS):
                break  # those behind were told later
            count, seconds, latest = known.count, now - known.logged_at, known.latest
            if surplus or (not count and seconds >= FORGET_SECONDS):
                del self._groups[group]
            elif count:
                del self._groups[group]
                self._groups[group] = _Group(now)
            if count:
                yield Counted(group, count, seconds, latest)
