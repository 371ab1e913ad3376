"""What the demo counts, told by the app's hooks: every event that was stored, and every run of every handler."""

import asyncio
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from dawdle.hooks import HandlerFinished, Moment, Signaled

WANTS = {
    "send_receipt": "OrderPlaced",
    "update_stats": "OrderPlaced",
    "book_shipping": "OrderPlaced",
    "remind": "ReminderDue",
}


class Figures:
    def __init__(self, orders: int) -> None:
        self.signaled: defaultdict[str, set[str]] = defaultdict(set)
        self.runs: Counter[tuple[str, str]] = Counter()
        self.handled: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.all_done = asyncio.Event()
        self._expected = orders * len(WANTS)

    def watch(self, moment: Moment) -> None:
        if isinstance(moment, Signaled):
            self.signaled[moment.event_type].add(moment.event_id)
        elif isinstance(moment, HandlerFinished):
            handler = moment.handler.rpartition(".")[2]
            if moment.attempt > 1:
                self.retried[handler] += 1
            if moment.outcome == "done":
                self.runs[handler, moment.event_id] += 1
                if self.runs[handler, moment.event_id] == 1:
                    self.handled[handler] += 1
                if len(self.runs) == self._expected:
                    self.all_done.set()

    def done(self, handler: str) -> set[str]:
        return {event_id for name, event_id in self.runs if name == handler}

    def lost(self, handler: str) -> int:
        return len(self.signaled[WANTS[handler]] - self.done(handler))

    def duplicates(self, handler: str) -> int:
        return sum(count - 1 for (name, _), count in self.runs.items() if name == handler)

    @property
    def flawless(self) -> bool:
        return not any(self.lost(handler) or self.duplicates(handler) for handler in WANTS)

    def table(self, waits: Sequence[float]) -> str:
        lines = [f"signaled {kind:<15} {len(ids):>7,}" for kind, ids in self.signaled.items()]
        lines += ["", "handler            handled   retried   duplicates   lost"]
        lines += [
            f"{handler:<16} {self.handled[handler]:>9,} {self.retried[handler]:>9,} "
            f"{self.duplicates(handler):>12,} {self.lost(handler):>6,}"
            for handler in WANTS
        ]
        cuts = statistics.quantiles(waits, n=100, method="inclusive")
        lines += ["", f"from signal to handler: p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms"]
        return "\n".join(lines)
