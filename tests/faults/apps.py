"""Apps in this process, on a real server, for the rows in which no process dies."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

import dawdle
from dawdle.backends.sqs import SQS
from dawdle.hooks import Moment, Received, ReceiveFailed
from tests.faults.row import Figures
from tests.faults.workers import Audited


class OrderPlaced(msgspec.Struct, frozen=True):
    number: int = 0


class Watched:
    """An app with one handler, and what was seen of it."""

    def __init__(
        self, queue: SQS, handle: Callable[[OrderPlaced, dawdle.Context], Any] | None = None, **options: Any
    ) -> None:
        self.runs: Counter[str] = Counter()
        self.handled: list[float] = []
        """When each run ended, by this machine's clock."""
        self.received: list[float] = []
        self.failed: list[tuple[float, str]] = []
        registry = dawdle.Registry()

        @registry.on_event(OrderPlaced, name="handler", retry=options.pop("retry_of_handler", None))
        async def handler(event: OrderPlaced, ctx: dawdle.Context) -> None:
            self.runs[ctx.event_id] += 1
            if handle is not None:
                await handle(event, ctx)
            self.handled.append(time.monotonic())

        self.app = Audited(queue, registry=registry, hooks=[self._watch, *options.pop("hooks", ())], **options)

    def _watch(self, moment: Moment) -> None:
        if isinstance(moment, Received):
            self.received.append(time.monotonic())
        elif isinstance(moment, ReceiveFailed):
            self.failed.append((time.monotonic(), moment.error))

    def first_receive_after(self, moment: float) -> float | None:
        """Return how long after a time the first receive succeeded; None: none has yet."""
        return next((at - moment for at in self.received if at >= moment), None)

    def rate(self, start: float, end: float) -> float:
        """Return how many runs per second ended between two times."""
        return sum(start <= at < end for at in self.handled) / (end - start)

    def left(self, figures: Figures) -> None:
        """Report what the app left behind when it was closed."""
        if self.app.leaves != {}:
            figures.failed(f"the app leaves {self.app.leaves}")
