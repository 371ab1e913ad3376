"""Keeps the limit of one handler busy without holding the app's slots. Values in, values out: no clock, no queue.

An event arrives for a handler that may run only a few times at once:

    a run may begin, and none waits ──► Starts
    the line is short ────────────────► Waits      in memory, until a run ends
    else ─────────────────────────────► ComesBack  as a copy, at a random time in the second half of the line

The line is a time: when the work will be done that this node has given out so far. A new event lengthens it by a step,
which is the time of a run divided by the limit. Only time shortens it, so no node must know what another has done.
Copies come back a third faster than they can run, whatever the backlog and the number of nodes. Those that find room
run. The others are given a new time in the rest of the line.

A copy carries the step that it was counted with. If it comes back and finds no room, the line is corrected by the
difference to the step as it is known now. It is also lengthened by a tenth of a step, since nodes may be gone, and
other nodes' copies come too. A mean that is too low costs copies. One that is too high leaves the handler idle. So the
mean begins low, and counts as a tenth less than it is.
"""

from math import inf
from typing import Final

import msgspec

__all__ = ["ComesBack", "ConcurrencyLimit", "Line", "Place", "RunTime", "Starts", "Waits", "most_waiting"]

MAX_LINE_SECONDS: Final = 10.0
"""A new event waits in memory while the line is no longer than this."""

MIN_RETURN_SECONDS: Final = 1.0
MAX_RETURN_SECONDS: Final = 900.0
"""Bounds of the delay of a copy. SQS counts delays in whole seconds, up to 900 (developer guide, quotas, 2026). All
queues have the same bounds, since the longest delay is also the most that a wrong mean can cost."""

FIRST_RUN_SECONDS: Final = 0.1
"""Assumed length of a run before one has ended."""

RUNS_TO_TRUST: Final = 10
"""Runs after which the measured mean counts as much as the assumption."""

MIN_WEIGHT: Final = 0.05
"""The least share of the latest run in the mean, so that the mean follows a handler that becomes slower or faster."""

CAUTION: Final = 0.9
"""The share of the mean that the line counts with."""

STEP_GROWTH: Final = 0.1
"""The share of a step by which the line grows when a copy finds no room."""


class Starts(msgspec.Struct, frozen=True):
    """A run begins now."""


class Waits(msgspec.Struct, frozen=True):
    """It waits in memory until a run ends, behind the events that wait already."""


class ComesBack(msgspec.Struct, frozen=True):
    """It becomes a copy that comes back after `seconds`. The line counts it with `step` seconds."""

    seconds: float
    step: float


Place = Starts | Waits | ComesBack
"""Where an event goes that arrives for a handler with a limit."""

_STARTS: Final = Starts()
_WAITS: Final = Waits()


class RunTime:
    """How long a run takes: a mean that begins low, and follows changes."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._runs = 0

    def learn(self, seconds: float) -> None:
        """Count a run that held its slot for so long, whatever its outcome."""
        self._runs += 1
        self._mean += max(1.0 / self._runs, MIN_WEIGHT) * (seconds - self._mean)

    def estimate(self, under_way: float) -> float:
        """Return how long a run takes, in seconds.

        `under_way`: the seconds that all runs have taken so far which have not ended. Without these, a handler that
        hangs would look as fast as its last run.
        """
        known = (self._mean * self._runs + under_way) / (self._runs + RUNS_TO_TRUST)
        return CAUTION * max(known, FIRST_RUN_SECONDS / (self._runs + 1))


class Line:
    """When the work will be done that this node has given out."""

    def __init__(self) -> None:
        self.end = -inf

    def place(
        self,
        now: float,
        *,
        step: float,
        starts: bool,
        waiting: int,
        room: float,
        counted: float | None,
        random: float,
        stays: bool = False,
    ) -> Place:
        """Return where an event goes that arrives now, and count it.

        - `step`: seconds from one run to the next while there is work.
        - `starts`: a run may begin now; `waiting`: events that wait in memory, and `room`: how many may.
        - `counted`: the step that it was counted with when it was new; None: it is new.
        - `random`: a number in [0, 1).
        - `stays`: it waits however long the line is, if there is room.
        """
        if starts or (waiting < room and (stays or counted is not None or self.end - now <= MAX_LINE_SECONDS)):
            # A copy is in the line already. Counted again, a backlog would lengthen the line without end.
            if counted is None:
                self.end = max(self.end, now) + step
            return _STARTS if starts else _WAITS
        # The line is at least as long as the events that wait here take: a copy cannot run before them.
        least = now + waiting * step
        more = step if counted is None else (STEP_GROWTH + 1.0) * step - counted
        self.end = max(least, max(least, self.end) + more)
        left = min(self.end - now, MAX_RETURN_SECONDS)
        # Spread over the second half only: the first half belongs to the copies that were given out before.
        return ComesBack(max(MIN_RETURN_SECONDS, left * (0.5 + 0.5 * random)), step)


def most_waiting(step: float, limit: int, slots: int) -> float:
    """Return how many events may wait in memory for one handler.

    It is as many as run in ten seconds, and at least two for each run, so that no run is idle between two copies. But
    it is at most a quarter of the app's slots, since each event that waits holds one.
    """
    return min(max(MAX_LINE_SECONDS / step, 2.0 * limit), max(1, slots // 4))


class ConcurrencyLimit:
    """A handler that may run `limit` times at once on this node, in an app with so many slots."""

    def __init__(self, limit: int, slots: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self._slots = slots
        self._began = 0.0  # the sum of the start times of all runs under way, so that a new one costs no loop
        self._time = RunTime()
        self._line = Line()

    def arrive(self, now: float, *, counted: float | None, spare: int, random: float, stays: bool = False) -> Place:
        """Return where an event goes that arrives now, and count it as running or waiting.

        `spare`: how many more events may wait in the whole app. The others are those of `Line.place`.
        """
        step = self._time.estimate(self.running * now - self._began) / self.limit
        room = float(self.waiting + spare)
        if not stays:
            room = min(room, most_waiting(step, self.limit, self._slots))
        starts = self.running < self.limit and not self.waiting  # a new event does not overtake one that waits
        place = self._line.place(
            now, step=step, starts=starts, waiting=self.waiting, room=room, counted=counted, random=random, stays=stays
        )
        match place:
            case Starts():
                self._begin(now)
            case Waits():
                self.waiting += 1
            case ComesBack():
                pass
        return place

    def next(self, now: float) -> bool:
        """Return whether the event that has waited longest starts now, and count it as running."""
        if not self.waiting or self.running >= self.limit:
            return False
        self.waiting -= 1
        self._begin(now)
        return True

    def withdraw(self) -> None:
        """Note that an event waits no longer and does not run here."""
        self.waiting -= 1

    def finish(self, began: float, now: float) -> None:
        """Note that a run has ended."""
        self.running -= 1
        self._began = self._began - began if self.running else 0.0  # zero again when idle, or rounding would add up
        self._time.learn(now - began)

    def _begin(self, now: float) -> None:
        self.running += 1
        self._began += now
