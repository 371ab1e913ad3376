"""Decides which processes of a worker are started, stopped and killed. Pure: facts and the time in, actions out.

The worker has a number of places, and one process works in each:

    starting ──ready──► working ──► stopping ──► ended     a new one in the place is ready, or the worker stops
        │                  └──────────────────► ended      it died: another is started after the back-off
        └─────────────────────────────────────► ended      it could not start

A process that works is stopped only when another one in its place is ready, so nothing that is in the queue waits for
a start, and code that does not start replaces none that works. A replacement goes from place to place, one at a time;
after a change of the code all places are replaced at once.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

__all__ = [
    "Action",
    "Died",
    "GaveUp",
    "Kill",
    "NotReady",
    "NotReplaced",
    "Pool",
    "Replaced",
    "Start",
    "Stop",
    "WaitsForChange",
]

BACKOFF_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before a process is started again: after its first death in a row, its second, and so on."""

STEADY_SECONDS: Final = 10.0
"""Seconds of work after which a death is the first in a row again."""

KILL_SECONDS: Final = 15.0
"""Seconds after its grace in which a process that was asked to stop must have ended; then it is killed. An app needs up
to 7 for its clean-up, and 5 more for threads that are not its own."""

LONG_START_SECONDS: Final = 30.0
"""Seconds after which it is told that a process is not ready yet."""

DEFAULT_GRACE_SECONDS: Final = 25.0
"""The grace of a process that has not said its own yet: that of `Dawdle(grace=…)`."""


class Start(msgspec.Struct, frozen=True):
    """Start a process in a place."""

    number: int
    place: int


class Stop(msgspec.Struct, frozen=True):
    """Ask a process to stop, as SIGTERM does. A process that is asked twice ends its grace."""

    number: int


class Kill(msgspec.Struct, frozen=True):
    """Kill a process that has not stopped in time."""

    number: int


class Died(msgspec.Struct, frozen=True):
    """To tell: a process ended by itself. `delay`: seconds until another is started; None: one is starting already."""

    number: int
    seconds: float
    """How long it has run."""
    delay: float | None


class Replaced(msgspec.Struct, frozen=True):
    """To tell: a process works in place of another, or of several."""

    number: int
    seconds: float
    """How long it took to start."""


class NotReplaced(msgspec.Struct, frozen=True):
    """To tell: a process did not start, and the one that it was to replace works on."""

    number: int


class NotReady(msgspec.Struct, frozen=True):
    """To tell: a process takes long to start. It may be that it never will."""

    number: int
    seconds: float
    replaces: bool
    """Whether one that works is to be replaced by it. That one works on."""


class WaitsForChange(msgspec.Struct, frozen=True):
    """To tell: the code does not start, and only a change of it can help."""

    number: int


class GaveUp(msgspec.Struct, frozen=True):
    """To tell: the app cannot be loaded at the first start, so the worker ends."""

    number: int


Action = Start | Stop | Kill | Died | Replaced | NotReplaced | NotReady | WaitsForChange | GaveUp


class _Process(msgspec.Struct):
    number: int
    place: int
    started: float
    state: Literal["starting", "working", "stopping"] = "starting"
    ready: float = 0.0
    """When it was ready."""
    grace: float = DEFAULT_GRACE_SECONDS
    kill_at: float | None = None
    told: bool = False
    """It is told that it takes long to start."""

    @property
    def tell_at(self) -> float | None:
        """When it is to be told that it takes long to start."""
        return self.started + LONG_START_SECONDS if self.state == "starting" and not self.told else None


class _Place(msgspec.Struct):
    start_at: float | None = None
    """When the next process is started; None: one runs, or waits for a change."""
    deaths: int = 0
    """How many processes in a row have died here."""


class Pool:
    """The processes of a worker. Each call returns what to do, in this order."""

    def __init__(self, places: int, *, reloads: bool) -> None:
        self._places = {place: _Place() for place in range(1, places + 1)}
        self._reloads = reloads
        self._processes: dict[int, _Process] = {}
        self._numbers = 0
        self._to_replace: list[int] = []
        """The places to be replaced, one after another. The first one is being replaced now."""
        self._worked = False
        """Some process was ready once, so the app can be loaded."""
        self._stops = 0
        """How often the worker was asked to stop."""
        self.failed = False
        """The worker has given up."""

    @property
    def stopping(self) -> bool:
        """Whether the worker is to end."""
        return self._stops > 0

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.stopping and not self._processes

    @property
    def wakes_at(self) -> float | None:
        """When `tick` has something to do."""
        starts = [place.start_at for place in self._places.values() if place.start_at is not None]
        kills = [process.kill_at for process in self._processes.values() if process.kill_at is not None]
        tells = [at for process in self._processes.values() if (at := process.tell_at) is not None]
        return min([*starts, *kills, *tells], default=None)

    @property
    def places(self) -> range:
        """All places."""
        return range(1, len(self._places) + 1)

    def working(self, place: int) -> int | None:
        """Return the process that works in a place."""
        return next((each.number for each in self._in(place) if each.state == "working"), None)

    def start_at(self, place: int) -> float | None:
        """Return when the next process is started in a place; None: one runs there, or waits for a change."""
        return self._places[place].start_at

    def state(self, number: int) -> Literal["starting", "working", "stopping"]:
        """Return the state of a process that has not ended."""
        return self._processes[number].state

    def start(self, now: float) -> list[Action]:
        """Start a process in each place."""
        return [self._start(place, now) for place in self._places]

    def ready(self, number: int, now: float, grace: float) -> list[Action]:
        """A process works now. What it replaces is stopped. `grace`: its own, in seconds."""
        process = self._processes[number]
        process.grace = grace
        if process.state == "stopping":
            return []
        process.state, process.ready, self._worked = "working", now, True
        older = [each for each in self._in(process.place) if each.number < number and each.state != "stopping"]
        actions: list[Action] = [Replaced(number, now - process.started)] if older else []
        return [*actions, *(self._stop(each, now) for each in older), *self._go_on(process.place, now)]

    def gone(self, number: int, now: float, *, unloadable: bool = False) -> list[Action]:
        """A process has ended. `unloadable`: it said that its code cannot be loaded."""
        process = self._processes.pop(number)
        if self.stopping:
            return []
        if process.state == "stopping":
            return self._go_on(process.place, now)
        others = [each for each in self._in(process.place) if each.state != "stopping"]
        if process.state == "starting" and others:
            self._to_replace.clear()
            return [NotReplaced(number)]
        seconds = now - process.started
        if others:
            return [Died(number, seconds, None)]
        if unloadable and self._reloads:
            self._to_replace.clear()
            return [WaitsForChange(number)]
        if unloadable and not self._worked:
            self.failed = True
            return [GaveUp(number), *self.stop(now)]
        return [Died(number, seconds, self._back_off(process, now))]

    def changed(self, now: float) -> list[Action]:
        """Replace all processes at once, since their code has changed."""
        if self.stopping:
            return []
        self._to_replace.clear()
        actions: list[Action] = []
        for place, kept in self._places.items():
            kept.deaths = 0
            actions += self._start_anew(place, now)
        return actions

    def replace(self, now: float, *places: int) -> list[Action]:
        """Replace the processes of some places, or of all, one after another.

        All are replaced since the code may be new. So one that is starting is started anew, and a place where another
        works already has its turn once more: no process keeps the code of before.
        """
        if self.stopping:
            return []
        idle = not self._to_replace
        if places:
            self._to_replace += [place for place in places if place not in self._to_replace]
            return self._start_anew(self._to_replace[0], now) if idle else []
        first = 1 if idle else self._to_replace[0]
        self._to_replace = [first, *(place for place in self._places if place != first)]
        waits = not idle and self.working(first) and all(each.state != "starting" for each in self._in(first))
        if waits:  # until the process that was replaced there has ended
            self._to_replace.append(first)
        return [] if waits else self._start_anew(first, now)

    def stop(self, now: float) -> list[Action]:
        """End the worker: ask all processes to stop, a second time to end their grace, a third time kill them."""
        self._stops += 1
        for place in self._places.values():
            place.start_at = None
        if self._stops == 1:
            return [self._stop(each, now) for each in self._processes.values() if each.state != "stopping"]
        return [(Stop if self._stops == 2 else Kill)(number) for number in self._processes]

    def tick(self, now: float) -> list[Action]:
        """Do what is due by now."""
        due = [number for number, place in self._places.items() if place.start_at is not None and place.start_at <= now]
        return [*(self._start(place, now) for place in due), *self._kills(now), *self._long_starts(now)]

    def _in(self, place: int) -> list[_Process]:
        return [each for each in self._processes.values() if each.place == place]

    def _start(self, place: int, now: float) -> Start:
        self._places[place].start_at = None
        self._numbers += 1
        self._processes[self._numbers] = _Process(self._numbers, place, now)
        return Start(self._numbers, place)

    def _start_anew(self, place: int, now: float) -> list[Action]:
        """Start what replaces the process in a place. One that is starting has the code of before: it is stopped."""
        starting = [each for each in self._in(place) if each.state == "starting"]
        return [*(self._stop(each, now) for each in starting), self._start(place, now)]

    def _stop(self, process: _Process, now: float) -> Stop:
        process.state, process.kill_at = "stopping", now + process.grace + KILL_SECONDS
        return Stop(process.number)

    def _kills(self, now: float) -> Iterator[Kill]:
        for process in self._processes.values():
            if process.kill_at is not None and process.kill_at <= now:
                process.kill_at = None
                yield Kill(process.number)

    def _long_starts(self, now: float) -> Iterator[NotReady]:
        for process in self._processes.values():
            if process.tell_at is not None and process.tell_at <= now:
                process.told = True
                yield NotReady(process.number, now - process.started, self.working(process.place) is not None)

    def _back_off(self, process: _Process, now: float) -> float:
        """Note a death, and return the seconds until another process is started."""
        place = self._places[process.place]
        if process.state == "working" and now - process.ready >= STEADY_SECONDS:
            place.deaths = 0
        delay = BACKOFF_SECONDS[min(place.deaths, len(BACKOFF_SECONDS) - 1)]
        place.deaths += 1
        place.start_at = now + delay
        return delay

    def _go_on(self, place: int, now: float) -> list[Action]:
        """Replace in the next place, if one process works in this one and those that it replaced have ended."""
        if self._to_replace[:1] != [place] or [each.state for each in self._in(place)] != ["working"]:
            return []
        self._to_replace.pop(0)
        return self._start_anew(self._to_replace[0], now) if self._to_replace else []
