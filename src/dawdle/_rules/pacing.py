"""How one handler's limit is kept busy without holding the app's slots: who waits here, who comes back. Values only.

An event comes for a handler that may run a few times at once, or so many times a second:

    a run may begin, and none waits ──► Starts
    the line is short ────────────────► Waits      in memory, for as long as it takes
    else ─────────────────────────────► ComesBack  as a copy, at a random moment in the second half of the line

The line is a time: the end of the work that this node has given places out for. A new event lengthens it by a step, a
run's time divided by the limit. Time alone shortens it, so no node need know what another has done. Copies come back a
third faster than they can be run, whatever the backlog and however many nodes there are: those that find room run, the
others draw again over what is left of the line.

A copy carries how long a step it was counted with. When it comes back and finds no room, the line is put right by the
difference to what a run takes as far as is known by then, and lengthened by a tenth of a step, for the nodes that are
gone and the events that other nodes had. A mean that is too low costs copies, one that is too high leaves the handler
idle: so it begins low, and is taken a tenth lower than it is.
"""

from math import inf
from typing import Final

import msgspec

__all__ = ["ComesBack", "ConcurrencyLimit", "Line", "Place", "RunTime", "Starts", "Waits", "most_waiting"]

MAX_LINE_SECONDS: Final = 10.0
"""A new event waits in memory while the line is no longer than this."""

MIN_RETURN_SECONDS: Final = 1.0
MAX_RETURN_SECONDS: Final = 900.0
"""A copy comes back after no less and no more. SQS counts delays in whole seconds, up to 900 (developer guide, quotas,
2026); elsewhere the same, since the longest delay is also what a wrong mean can cost."""

FIRST_RUN_SECONDS: Final = 0.1
"""What a run is taken to last before anything is known."""

RUNS_TO_TRUST: Final = 10
"""The mean counts by half after so many runs."""

MIN_WEIGHT: Final = 0.05
"""How much of the mean the latest run is at least, so that it follows a handler that becomes slower or faster."""

CAUTION: Final = 0.9
"""Which part of the mean is reckoned with."""

STEP_GROWTH: Final = 0.1
"""By which part of a step the line grows when a copy came back for nothing."""


class Starts(msgspec.Struct, frozen=True):
    """A run begins now."""


class Waits(msgspec.Struct, frozen=True):
    """It waits in memory until a run ends, behind those that wait already."""


class ComesBack(msgspec.Struct, frozen=True):
    """It is sent as a copy, to come back after `seconds`; the line counts it with `step` seconds."""

    seconds: float
    step: float


Place = Starts | Waits | ComesBack
"""Where an event goes that came for a handler with a limit."""

_STARTS: Final = Starts()
_WAITS: Final = Waits()


class RunTime:
    """How long a run takes: a mean that begins low, and follows."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._runs = 0

    def learn(self, seconds: float) -> None:
        """Count a run that held its slot for so long, whatever came of it."""
        self._runs += 1
        self._mean += max(1.0 / self._runs, MIN_WEIGHT) * (seconds - self._mean)

    def estimate(self, under_way: float) -> float:
        """Return how long a run takes, in seconds, as far as is known.

        `under_way`: the seconds that those runs which have not ended have taken together.
        """
        known = (self._mean * self._runs + under_way) / (self._runs + RUNS_TO_TRUST)
        return CAUTION * max(known, FIRST_RUN_SECONDS / (self._runs + 1))


class Line:
    """Until when this node has given places out."""

    def __init__(self) -> None:
        self.end = -inf

    def place(
        self, now: float, *, step: float, starts: bool, waiting: int, room: float, counted: float | None, random: float
    ) -> Place:
        """Return where an event goes that comes now, and count it.

        - `step`: seconds from one run to the next while there is work.
        - `starts`: a run may begin now; `waiting`: events that wait in memory, and `room`: how many may.
        - `counted`: seconds that the line was lengthened by when this event was new; None: it is new.
        - `roll`: a random number in [0, 1).
        """
        if starts or (waiting < room and (counted is not None or self.end - now <= MAX_LINE_SECONDS)):
            if counted is None:
                self.end = max(self.end, now) + step
            return _STARTS if starts else _WAITS
        least = now + waiting * step
        more = step if counted is None else (STEP_GROWTH + 1.0) * step - counted
        self.end = max(least, max(least, self.end) + more)
        left = min(self.end - now, MAX_RETURN_SECONDS)
        return ComesBack(max(MIN_RETURN_SECONDS, left * (0.5 + 0.5 * random)), step)


def most_waiting(step: float, limit: int, slots: int) -> float:
    """Return how many events may wait in memory for one handler.

    As many as are run in ten seconds, and two for each run at once, so that none is idle between two copies; but no
    more than a quarter of the app's slots, since each that waits holds one.
    """
    return min(max(MAX_LINE_SECONDS / step, 2.0 * limit), max(1, slots // 4))


class ConcurrencyLimit:
    """One handler of which no more than `limit` run at once on this node, in an app of so many slots."""

    def __init__(self, limit: int, slots: int) -> None:
        self.limit = limit
        self.running = 0
        self.waiting = 0
        self._slots = slots
        self._began = 0.0  # the sum of when each run that is under way began
        self._time = RunTime()
        self._line = Line()

    def arrive(self, now: float, *, counted: float | None, spare: int, random: float) -> Place:
        """Return where an event goes that comes now; from then on it runs, or waits, as far as is known here.

        `spare`: how many events more may wait in the whole app; the rest as for `Line.place`.
        """
        step = self._time.estimate(self.running * now - self._began) / self.limit
        room = min(most_waiting(step, self.limit, self._slots), self.waiting + spare)
        starts = self.running < self.limit and not self.waiting
        place = self._line.place(
            now, step=step, starts=starts, waiting=self.waiting, room=room, counted=counted, random=random
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
        """Return whether the event that has waited longest begins to run now."""
        if not self.waiting or self.running >= self.limit:
            return False
        self.waiting -= 1
        self._begin(now)
        return True

    def withdraw(self) -> None:
        """Take note that an event waits no longer and does not run here."""
        self.waiting -= 1

    def finish(self, began: float, now: float) -> None:
        """Take note that a run has ended."""
        self.running -= 1
        self._began = self._began - began if self.running else 0.0
        self._time.learn(now - began)

    def _begin(self, now: float) -> None:
        self.running += 1
        self._began += now
