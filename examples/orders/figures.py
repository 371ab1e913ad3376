"""What the demo counts: the orders that were answered, and the lines that handlers wrote."""

import statistics
from asyncio import StreamReader
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from orders.journal import Run
from orders.queues import LEASE

HANDLERS: Final = ("send_receipt", "update_stats", "book_shipping")


class Figures:
    def __init__(self) -> None:
        self.signaled: set[str] = set()
        self.runs: Counter[tuple[str, str]] = Counter()
        self.handled: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.waits: list[float] = []

    async def read(self, printed: StreamReader, counted: Callable[[Run], None]) -> None:
        """Count what a worker writes down until it ends, however it ends; `counted` is told of each run."""
        async for line in printed:
            counted(self.note(line))

    def note(self, line: bytes) -> Run:
        run = msgspec.json.decode(line, type=Run)
        self.runs[run.handler, run.event_id] += 1
        if self.runs[run.handler, run.event_id] == 1:
            self.handled[run.handler] += 1
        if run.attempt == 1:
            self.waits.append(run.waited)
        else:
            self.retried[run.handler] += 1
        return run

    def done(self, handler: str) -> set[str]:
        return {event_id for name, event_id in self.runs if name == handler}

    def lost(self, handler: str) -> int:
        return len(self.signaled - self.done(handler))

    def twice(self, handler: str) -> int:
        return sum(count - 1 for (name, _), count in self.runs.items() if name == handler)

    @property
    def nothing_lost(self) -> bool:
        return not any(map(self.lost, HANDLERS))

    def table(self, used: str) -> str:
        at_once = [wait for wait in self.waits if wait < LEASE]
        came_back = len(self.waits) - len(at_once)
        return "\n".join(
            [
                f"signaled         {len(self.signaled):>9,}",
                "",
                "handler            handled   retried   run twice   lost",
                *map(self._row, HANDLERS),
                "",
                used,
                "from signal to handler:",
                f"  without the killed worker's: {percentiles(at_once)}",
                f"  with {came_back:,} runs that waited for its lease to end: {percentiles(self.waits)}",
            ]
        )

    def _row(self, handler: str) -> str:
        return (
            f"{handler:<16} {self.handled[handler]:>9,} {self.retried[handler]:>9,} "
            f"{self.twice(handler):>11,} {self.lost(handler):>6,}"
        )


def percentiles(waits: Sequence[float]) -> str:
    if len(waits) < 2:
        return "too few to tell"
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return f"p50 {cuts[49] * 1000:,.1f} ms, p99 {cuts[98] * 1000:,.1f} ms"
