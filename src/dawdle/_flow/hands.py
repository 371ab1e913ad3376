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
from contextlib import contextmanager, suppress

from dawdle._flow.hand import Hand
from dawdle._flow.queue import Queue
from dawdle._flow.slots import Slots
from dawdle.abc import Clock, Delivery

__all__ = ["Hands"]


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
        if delivery.receive_count >= known.receives:
            known.receipt, known.receives = delivery.receipt, delivery.receive_count
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
                with suppress(ValueError):
                    self._turns.remove(hand)  # it waits no more: its turn must not come
                raise

    def let_go(self, hand: Hand) -> None:
        """Let go of what is settled, or cannot be, and give its slot back."""
        del self._hands[hand.key]
        if hand.begun is not None and not hand.begun.done():
            hand.begun.set_result(hand.settled)
        if hand.started:
            self._under_way -= 1
        self._slots.give()
        self._give_turns()
        self._look_for_rest()

    def let_go_of_all(self) -> None:
        """Let go of what the app died too early for: nothing carries it, or ever has."""
        for hand in self:
            self.let_go(hand)

    @contextmanager
    def held_back(self) -> Generator[None]:
        """Start nothing in the block, but for what is started over the limit: one message is tried in isolation."""
        self._held_back = True
        try:
            yield
        finally:
            self.hold_back_no_longer()

    def hold_back_no_longer(self) -> None:
        """Start what waits, from now on: the message that is tried has been in isolation for long enough."""
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
