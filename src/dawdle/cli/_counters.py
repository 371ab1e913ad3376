"""The counters of one handler and of one queue of a worker. What is recent is kept in rings of cells of a second each.

So memory is bounded, and nothing has to be swept: a cell is emptied when its turn comes again.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from dawdle.cli._snapshot import HandlerStats, QueueStats, merged

__all__ = ["REQUEST_SECONDS", "RUN_SECONDS", "HandlerCounts", "QueueCounts"]

RUN_SECONDS: Final = 10
"""Seconds of the window of runs and messages."""

REQUEST_SECONDS: Final = 60
"""Seconds of the window of requests. An idle worker makes three in a minute: over less time they would come and go."""


class _Cell:
    """The counts of one stretch of time."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = -1
        self.reset()

    def reset(self) -> None:
        raise NotImplementedError


class _HandlerCell(_Cell):
    __slots__ = ("durations", "failures", "retries", "waited")

    def reset(self) -> None:
        self.failures = self.retries = 0
        self.waited: float | None = None
        self.durations: dict[int, int] = {}


class _QueueCell(_Cell):
    __slots__ = ("copies", "empty", "finished", "received", "requests", "signaled")

    def reset(self) -> None:
        self.requests = self.empty = self.finished = self.copies = self.received = self.signaled = 0


C = TypeVar("C", bound=_Cell)


class _Ring(Generic[C]):
    """A cell for each second of the longest window, and one for the latest second, which has only begun."""

    __slots__ = ("_cells", "_count")

    def __init__(self, make: Callable[[], C], seconds: int) -> None:
        self._count = seconds + 1
        self._cells = [make() for _ in range(self._count)]

    def cell(self, now: float) -> C:
        """Return the cell of this time, empty if its last turn is over."""
        number = int(now)
        cell = self._cells[number % self._count]
        if cell.number != number:
            cell.reset()
            cell.number = number
        return cell

    def recent(self, now: float, seconds: int) -> list[C]:
        """Return the cells of a window."""
        number = int(now)
        return [cell for cell in self._cells if number - seconds <= cell.number <= number]


class HandlerCounts:
    """What one handler has done since the app was entered, and lately."""

    __slots__ = ("dead_letters", "failures", "recent", "retries", "running", "runs")

    def __init__(self) -> None:
        self.runs = self.failures = self.retries = self.dead_letters = self.running = 0
        self.recent = _Ring(_HandlerCell, RUN_SECONDS)

    def stats(self, name: str, types: tuple[str, ...], now: float) -> HandlerStats:
        cells = self.recent.recent(now, RUN_SECONDS)
        durations = merged(dict(cell.durations) for cell in cells)
        return HandlerStats(
            name=name,
            types=types,
            runs=self.runs,
            failures=self.failures,
            retries=self.retries,
            dead_letters=self.dead_letters,
            running=self.running,
            recent_runs=sum(durations.values()),
            recent_failures=sum(cell.failures for cell in cells),
            recent_retries=sum(cell.retries for cell in cells),
            recent_waited=max((cell.waited for cell in cells if cell.waited is not None), default=None),
            durations=durations,
        )


class QueueCounts:
    """What was asked of one queue and those attached to it, and what became of its messages."""

    __slots__ = (
        "copies",
        "dead_letters",
        "empty",
        "failed",
        "finished",
        "received",
        "receives",
        "recent",
        "requests",
        "signaled",
    )

    def __init__(self) -> None:
        self.signaled = self.received = self.receives = self.empty = self.failed = 0
        self.finished = self.copies = self.dead_letters = 0
        self.requests: dict[str, int] = {}
        self.recent = _Ring(_QueueCell, REQUEST_SECONDS)

    def stats(self, name: str, now: float, facts: tuple[str, str], in_flight: int, slots: int) -> QueueStats:
        latest, cells = self.recent.recent(now, RUN_SECONDS), self.recent.recent(now, REQUEST_SECONDS)
        return QueueStats(
            name=name,
            system=facts[0],
            place=facts[1],
            signaled=self.signaled,
            received=self.received,
            in_flight=in_flight,
            slots=slots,
            finished=self.finished,
            copies=self.copies,
            dead_letters=self.dead_letters,
            requests={**self.requests, **({"receive": self.receives} if self.receives else {})},
            empty_receives=self.empty,
            failed_requests=self.failed,
            recent_signaled=sum(cell.signaled for cell in latest),
            recent_received=sum(cell.received for cell in latest),
            recent_requests=sum(cell.requests for cell in cells),
            recent_empty_receives=sum(cell.empty for cell in cells),
            recent_finished=sum(cell.finished for cell in cells),
            recent_copies=sum(cell.copies for cell in cells),
        )
