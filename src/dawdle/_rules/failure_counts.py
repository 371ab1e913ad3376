"""Decides which failures are logged with their traceback, in one line, or counted. Logs nothing, and reads no clock.

Ten thousand failures alike must not fill a disk. Alike are failures of one handler by the same type of error, raised at
the same line. The first is logged with its traceback. Of the next ones, one a minute is a line at most: those within
the minute are counted, and logged as one line when it is over. Each line says how many there were since the traceback,
so that it can be looked up. After an hour the traceback comes again: the log may have been rotated.

Last attempts are counted apart from those that are tried again. One that comes after a quiet minute has its traceback
again, since it gives an event up.
"""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from dawdle._rules.outcome import MAX_LEAVES_NAMED, leaves_of

__all__ = ["COUNT_SECONDS", "MAX_GROUPS", "Counted", "FailureCounts", "FailureGroup", "Noted", "group_of", "ordinal"]

COUNT_SECONDS: Final = 60.0
"""Seconds for which the failures of one group are counted before they are logged."""

AGAIN_SECONDS: Final = 3600.0
"""Seconds after which a group begins anew: its next failure is the first, and is logged with its traceback."""

MAX_GROUPS: Final = 1000
"""Groups that are remembered by each look. Beyond that the oldest are logged early, and forgotten."""


class FailureGroup(NamedTuple):
    """What makes failures alike."""

    handler: str
    error: str
    """The type of the error, by name; of a group of errors, the types in it."""
    raised_at: str
    """The file and the line that raised it; of a group of errors, of each. Empty if it was not raised."""
    is_last: bool
    """It was the last attempt."""


class Noted(NamedTuple):
    """How a failure is logged, which one of its group it is, from 1, and when the first one was."""

    how: Literal["with traceback", "in one line", "counted"]
    times: int
    since: float


class Counted(NamedTuple):
    """Failures that were counted and not logged one by one."""

    group: FailureGroup
    more: int
    """How many were counted."""
    seconds: float
    """For how long they were counted."""
    latest: object
    """The latest of them."""
    times: int
    """How many there were since the first one, that one included."""
    since: float
    """When the first one was."""


class _Group:
    __slots__ = ("count", "latest", "logged_at", "since", "times")

    def __init__(self, now: float, since: float, times: int) -> None:
        self.logged_at = now
        self.since = since
        self.times = times
        self.count = 0
        self.latest: object = None


class FailureCounts:
    """The groups of failures of the last hour. All times are by one monotonic clock."""

    def __init__(self) -> None:
        self._groups: dict[FailureGroup, _Group] = {}  # the one that was logged longest ago comes first

    def note(self, group: FailureGroup, now: float, failure: object) -> Noted:
        """Note a failure, and return how it is logged. One that is counted is kept as the latest."""
        known = self._groups.get(group)
        if known is not None and (known.count or now - known.logged_at < COUNT_SECONDS):
            known.count += 1
            known.times += 1
            known.latest = failure
            return Noted("counted", known.times, known.since)
        is_new = known is None or now - known.since >= AGAIN_SECONDS
        since, times = (now, 1) if known is None or is_new else (known.since, known.times + 1)
        self._put(group, _Group(now, since, times))
        return Noted("with traceback" if is_new or group.is_last else "in one line", times, since)

    @property
    def is_crowded(self) -> bool:
        """Whether a look is due at once: there are twice as many groups as are to be remembered."""
        return len(self._groups) >= 2 * MAX_GROUPS

    def expired(self, now: float, *, all_of_them: bool = False) -> Iterator[Counted]:
        """Yield, once each, the groups that were counted for a minute, all groups, or the oldest of too many."""
        for group, known in list(self._groups.items()):
            surplus = len(self._groups) > MAX_GROUPS
            if not (surplus or all_of_them or now - known.logged_at >= COUNT_SECONDS):
                break  # all behind it were logged later
            if surplus or now - known.since >= AGAIN_SECONDS:
                del self._groups[group]
            elif known.count:
                self._put(group, _Group(now, known.since, known.times))
            if known.count:
                yield Counted(group, known.count, now - known.logged_at, known.latest, known.times, known.since)

    def _put(self, group: FailureGroup, known: _Group) -> None:
        """Put a group in anew, so that the dict stays in the order of logging."""
        self._groups.pop(group, None)
        self._groups[group] = known


def group_of(handler: str, error: BaseException, *, is_last: bool) -> FailureGroup:
    """Return the group of a failure: by the handler, the type of its error, and where it was raised.

    A group of errors, as a handler's own TaskGroup raises it, is told by what is in it: the group itself is always
    raised at the same line.
    """
    leaves = leaves_of(error)
    if leaves == [error]:
        return FailureGroup(handler, type(error).__qualname__, _raised_at(error), is_last)
    # In the order of their names: which of two tasks fails first is chance.
    kinds = sorted({(type(leaf).__qualname__, _raised_at(leaf)) for leaf in leaves})[:MAX_LEAVES_NAMED]
    types = ", ".join(dict.fromkeys(name for name, _ in kinds))
    return FailureGroup(
        handler, f"{type(error).__qualname__} of {types}", " and ".join(where for _, where in kinds if where), is_last
    )


def ordinal(number: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, … 11th, … 21st."""
    suffix = "th" if number % 100 in {11, 12, 13} else _SUFFIXES.get(number % 10, "th")
    return f"{number:,}{suffix}"


_SUFFIXES: Final = {1: "st", 2: "nd", 3: "rd"}


def _raised_at(error: BaseException) -> str:
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
