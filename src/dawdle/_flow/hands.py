"""What is in hand: messages between receive and settle, and events handled past the queue."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from dawdle._flow.queue import Queue
from dawdle.abc import Clock, Delivery

__all__ = ["Hand", "Hands"]


class Running(NamedTuple):
    """A handler that runs in a task, or waits there until it may."""

    handler: str
    in_thread: bool


class Hand:
    """One message in hand, or one event with no message (`delivery` is None) that is handled past the queue."""

    __slots__ = (
        "_running",
        "delivery",
        "interrupted",
        "lost",
        "outlived",
        "queue",
        "receipt",
        "received_at",
        "receives",
        "settled",
        "since",
    )

    def __init__(self, queue: Queue, delivery: Delivery | None, clock: Clock) -> None:
        self.queue = queue
        self.delivery = delivery
        self.receipt = "" if delivery is None else delivery.receipt
        self.receives = 0 if delivery is None else delivery.receives
        self.since = clock.monotonic()
        own = None if delivery is None else delivery.received_at
        self.received_at = clock.now() if own is None else own
        self.interrupted = False
        self.lost = False
        self.outlived = False
        self.settled = False
        """Nothing but its deletion is left to do: whoever has it meanwhile, it is done."""
        self._running: dict[asyncio.Task[object], Running] = {}

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

    @property
    def handlers(self) -> tuple[str, ...]:
        """The names of the handlers that run, or wait until they may."""
        return tuple(running.handler for running in self._running.values())

    def handler_in(self, task: "asyncio.Task[object]") -> str | None:
        """Return the name of the handler that runs in this task. Safe from another thread."""
        running = self._running.get(task)
        return None if running is None else running.handler

    def begin(self, task: "asyncio.Task[object]", handler: str, *, in_thread: bool = False) -> None:
        """Note that a handler runs in this task from now on, or waits there."""
        self._running[task] = Running(handler, in_thread)

    def end(self, task: "asyncio.Task[object]") -> None:
        """Note that no handler runs in this task any more."""
        self._running.pop(task, None)

    def interrupt(self) -> None:
        """Cancel the handlers that run, and start no other: the grace is over."""
        self.interrupted = True
        for task in self._running:
            task.cancel()

    def outlive(self) -> None:
        """Cancel the handlers that run: the queue gives the message away soon, however long they still take."""
        self.outlived = True
        self.interrupt()

    def lose(self) -> None:
        """Cancel the handlers that run: the message is somebody else's now. A thread goes on, and keeps its slot."""
        self.lost = self.interrupted = True
        for task, running in self._running.items():
            if not running.in_thread:
                task.cancel()

    def absorbs(self, task: "asyncio.Task[object]") -> bool:
        """Whether a cancellation was ours; if so, the task is as if it had not been cancelled."""
        if not self.interrupted or not task.cancelling():
            return False
        task.uncancel()
        return True


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
        """Return the hand that already holds this message, with the newer receipt; None if there is none.

        Two receives may come back in another order than they were made in: the count says which is newer.
        """
        hand = self._hands.get((id(queue), delivery.key))
        if hand is not None and delivery.receives >= hand.receives:
            hand.receipt, hand.receives = delivery.receipt, delivery.receives
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
