"""What is in flight, and the room there is for it: the one owner of both, whichever way in was taken.

A message is in flight from its receive on, a direct event from the call of `signal` on. Both go the same way:

    reserve ──► receive ──► take ───┐                         ┌── interrupt: its handlers are cancelled, or never start
                                    ├──► waits ──► started ──►┤
    signal(direct=True) ──► accept ─┘      └── interrupt ────►└──► settled ──► let_go

Whatever comes in here is counted, seen by `idle()`, by the stop and by `health()`, and leaves by `let_go` alone.
"""

import asyncio
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from dawdle._flow.queue import Queue
from dawdle._flow.slots import Slots
from dawdle.abc import Clock, Delivery

__all__ = ["Hand", "Hands"]


class Running(NamedTuple):
    """A handler that runs in a task, or waits there until it may."""

    handler: str
    in_thread: bool


class Keeper(Protocol):
    """What renews the lease of a message that is in flight."""

    def drop(self, hand: "Hand", /) -> None:
        """Renew it no longer."""
        ...

    async def rest(self, hand: "Hand", /) -> None:
        """Return when no renewal of it is on its way any more."""
        ...


class Hand:
    """One message in flight, or one direct event, which is no message yet (`delivery` is None)."""

    __slots__ = (
        "_running",
        "_waiter",
        "abandoned",
        "begun",
        "delivery",
        "gives_up",
        "idling",
        "interrupted",
        "keeper",
        "lost",
        "outlived",
        "queue",
        "receipt",
        "received_at",
        "receives",
        "settled",
        "settling",
        "since",
        "started",
    )

    def __init__(self, queue: Queue, delivery: Delivery | None, clock: Clock) -> None:
        self.queue = queue
        self.delivery = delivery
        self.receipt = "" if delivery is None else delivery.receipt
        self.receives = 0 if delivery is None else delivery.receives
        self.since = clock.monotonic()
        own = None if delivery is None else delivery.received_at
        self.received_at = clock.now() if own is None else own
        self.begun: asyncio.Future[None] | None = None
        """Of a direct event: done once its handlers have started, or never will here."""
        self.keeper: Keeper | None = None
        self.started = False
        """It has been given its turn, and counts as work under way."""
        self.interrupted = False
        self.lost = False
        self.outlived = False
        self.settled = False
        """Nothing but its deletion is left to do: whoever has it meanwhile, it is done."""
        self.settling: asyncio.Task[object] | None = None
        """The task that waits for the queue to answer what its settling asked for."""
        self.gives_up = False
        """That wait is over: the app is being left, and the flush has taken as long as it may."""
        self.abandoned = False
        """It is settled although a handler still runs, which nothing can end."""
        self.idling = 0
        """How many of its handlers wait for `idle()`: they must not wait for themselves."""
        self._running: dict[asyncio.Task[object], Running] = {}
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_direct(self) -> bool:
        """Whether no queue holds it yet: what is not stored for it is lost."""
        return self.delivery is None

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
        """Cancel the handlers that run, and start no other: the grace is over. May be called again and again."""
        self.interrupted = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
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

    async def drop_lease(self) -> None:
        """Renew its lease no longer, and return when no renewal is on its way: one that lands late would hide it."""
        if self.keeper is not None:
            self.keeper.drop(self)
            await self.keeper.rest(self)

    def give_up(self) -> None:
        """Wait no longer for what the settling has asked the queue for. What was asked goes on by itself."""
        if self.settling is not None:
            self.gives_up = True
            self.settling.cancel()

    async def wait_for_turn(self) -> None:
        """Return when somebody wakes it: its turn has come, or it was interrupted."""
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        """Tell it that its turn has come."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Hands:
    """All that is in flight in one app, by key, and the slots that it takes.

    A receive reserves slots ahead, so that it asks only for what there is room for. A direct event takes its slot when
    it comes, reserved or not; then what a receive brings waits for its turn.
    """

    def __init__(self, total: int, clock: Clock) -> None:
        self.total = total
        self._clock = clock
        self._slots = Slots(total, clock)
        self._hands: dict[tuple[int, str], Hand] = {}
        self._under_way = 0
        self._turns: deque[Hand] = deque()
        self._held_back = False
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []

    def __len__(self) -> int:
        return len(self._hands)

    def __iter__(self) -> Iterator[Hand]:
        return iter(list(self._hands.values()))

    @property
    def free_slots(self) -> int:
        """How many slots are neither reserved nor taken; below 0 where direct events came on top."""
        return self._slots.free

    @property
    def accepts(self) -> bool:
        """Whether a direct event may still come in: not once a stop for good has ended the handlers."""
        return not self._closed

    @property
    def at_rest(self) -> bool:
        """Whether nothing is in flight but what itself waits for that."""
        return all(hand.idling for hand in self._hands.values())

    # Ways in

    async def reserve(self, want: int) -> int:
        """Reserve up to `want` slots, 1 at least, and return how many. Cancelled, it has reserved none."""
        return await self._slots.take(want)

    def reserve_beyond(self) -> None:
        """Reserve one slot whether or not there is one."""
        self._slots.force()

    def unreserve(self, count: int) -> None:
        """Give slots back that no message came for."""
        self._slots.give(count)

    def take(self, queue: Queue, delivery: Delivery) -> Hand | None:
        """Take a received message, in a slot that was reserved for it.

        None if it is in flight already and has only come again: then the newer receipt counts, and the slot is not
        used. Two receives may come back in another order than they were made in: the count says which is newer.
        """
        known = self._hands.get((id(queue), delivery.key))
        if known is None:
            return self._add(Hand(queue, delivery, self._clock))
        if delivery.receives >= known.receives:
            known.receipt, known.receives = delivery.receipt, delivery.receives
        return None

    def accept(self, queue: Queue) -> Hand:
        """Take a direct event, in a slot of its own; from now on it is owed."""
        self._slots.force()
        hand = self._add(Hand(queue, None, self._clock))
        hand.begun = asyncio.get_running_loop().create_future()
        return hand

    # The way through

    async def start(self, hand: Hand, *, over_limit: bool = False) -> None:
        """Return when it is a hand's turn, first come, first served; or when it was interrupted, started or not.

        `over_limit`: at once, however much is under way. Who signals from a handler would else wait for his own slot.
        """
        if over_limit or (self._has_room() and not self._turns):
            self._begin(hand)
        elif not hand.interrupted:
            self._turns.append(hand)
            try:
                await hand.wait_for_turn()
            except BaseException:
                hand.interrupted = True  # it waits no more: its turn must not come
                raise

    def let_go(self, hand: Hand) -> None:
        """Let go of what is settled, or cannot be, and give its slot back."""
        del self._hands[hand.key]
        if hand.begun is not None and not hand.begun.done():
            hand.begun.set_result(None)
        if hand.started:
            self._under_way -= 1
        self._slots.give()
        self._give_turns()
        self._look_for_rest()

    @contextmanager
    def held_back(self) -> Generator[None]:
        """Start nothing in the block, but for what is started over the limit: one message is tried in isolation."""
        self._held_back = True
        try:
            yield
        finally:
            self._held_back = False
            self._give_turns()

    @contextmanager
    def idling(self, hand: Hand) -> Generator[None]:
        """Count a hand as at rest in the block: one of its own handlers waits there until all else is done."""
        hand.idling += 1
        self._look_for_rest()
        try:
            yield
        finally:
            hand.idling -= 1

    # The end

    def give_back_waiting(self) -> None:
        """Interrupt the messages that wait for their turn. A direct event waits on: no queue has it to give it back."""
        for hand in self:
            if not hand.started and not hand.is_direct:
                hand.interrupt()

    def interrupt(self) -> None:
        """Interrupt all that is in flight."""
        for hand in self:
            hand.interrupt()

    def close(self) -> None:
        """Accept no direct event any more: no handler starts from now on."""
        self._closed = True

    async def wait_empty(self) -> None:
        """Return once nothing is in flight."""
        while self._hands:
            await self._change()

    async def rest(self) -> None:
        """Return once nothing is in flight but what itself waits for that."""
        while not self.at_rest:
            await self._change()

    def _add(self, hand: Hand) -> Hand:
        self._hands[hand.key] = hand
        return hand

    def _has_room(self) -> bool:
        return self._under_way < self.total and not self._held_back

    def _begin(self, hand: Hand) -> None:
        hand.started = True
        self._under_way += 1

    def _give_turns(self) -> None:
        while self._turns and (self._turns[0].interrupted or self._has_room()):
            hand = self._turns.popleft()
            if not hand.interrupted:
                self._begin(hand)
                hand.wake()

    def _look_for_rest(self) -> None:
        """Tell those that wait for it, when nothing is in flight or all that is rests."""
        if self._waiting and self.at_rest:
            for changed in self._waiting:
                if not changed.done():
                    changed.set_result(None)
            self._waiting.clear()

    async def _change(self) -> None:
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(changed)
        await changed
