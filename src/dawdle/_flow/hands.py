"""What is in hand: messages between receive and settle, and events handled past the queue."""

import asyncio
from collections.abc import Iterator

from dawdle._flow.queue import Queue
from dawdle.abc import Clock, Delivery

__all__ = ["Hand", "Hands"]


class Hand:
    """One message in hand, or one event with no message (`delivery` is None) that is handled past the queue."""

    __slots__ = ("_running", "delivery", "interrupted", "lost", "queue", "receipt", "received_at", "since")

    def __init__(self, queue: Queue, delivery: Delivery | None, clock: Clock) -> None:
        self.queue = queue
        self.delivery = delivery
        self.receipt = "" if delivery is None else delivery.receipt
        self.since = clock.monotonic()
        own = None if delivery is None else delivery.received_at
        self.received_at = clock.now() if own is None else own
        self.interrupted = False
        self.lost = False
        self._running: dict[asyncio.Task[object], bool] = {}

    @property
    def key(self) -> tuple[int, str]:
        """What no other hand has."""
        return (id(self.queue), self.delivery.key) if self.delivery is not None else (id(self), "")

    @property
    def home(self) -> Queue:
        """The queue that its copies go to."""
        return self.queue.home

    def now(self, clock: Clock) -> float:
        """Return the time by the queue's clock: when it was received, and how long it was held since."""
        return self.received_at + clock.monotonic() - self.since

    def begin(self, task: "asyncio.Task[object]", *, in_thread: bool) -> None:
        """Note that a handler runs in this task from now on."""
        self._running[task] = in_thread

    def end(self, task: "asyncio.Task[object]") -> None:
        """Note that no handler runs in this task any more."""
        self._running.pop(task, None)

    def interrupt(self) -> None:
        """Cancel the handlers that run, and start no other: the grace is over."""
        self.interrupted = True
        for task in self._running:
            task.cancel()

    def lose(self) -> None:
        """Cancel the handlers that run: the message is somebody else's now. A thread goes on, and keeps its slot."""
        self.lost = self.interrupted = True
        for task, in_thread in self._running.items():
            if not in_thread:
                task.cancel()


class Hands:
    """All that is in hand in one app, by key."""

    def __init__(self) -> None:
        self._hands: dict[tuple[int, str], Hand] = {}
        self._waiting: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._hands)

    def __iter__(self) -> Iterator[Hand]:
        return iter(list(self._hands.values()))

    def adopt(self, queue: Queue, delivery: Delivery) -> Hand | None:
        """Return the hand that already holds this message, with the newer receipt; None if there is none."""
        hand = self._hands.get((id(queue), delivery.key))
        if hand is not None:
            hand.receipt = delivery.receipt
        return hand

    def add(self, hand: Hand) -> None:
        """Take into hand."""
        self._hands[hand.key] = hand

    def remove(self, hand: Hand) -> None:
        """Let go."""
        del self._hands[hand.key]
        if self._waiting and not self._hands:
            for emptied in self._waiting:
                if not emptied.done():
                    emptied.set_result(None)
            self._waiting.clear()

    async def empty(self) -> None:
        """Return once nothing is in hand."""
        while self._hands:
            emptied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(emptied)
            await emptied
