"""Receives: asks for what there is room for and starts a carrier for each message. It cannot die."""

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Final

from dawdle._flow.carrier import Carrier
from dawdle._flow.hands import Hand, Hands
from dawdle._flow.keeper import Keeper
from dawdle._flow.queue import Queue
from dawdle._flow.slots import Slots
from dawdle._flow.watch import Watch
from dawdle.abc import Clock, Delivery
from dawdle.errors import BackendError
from dawdle.hooks import Received, ReceiveFailed

__all__ = ["Receiver"]

_log = logging.getLogger(__name__)

FEW: Final = 10
"""Messages that a receive asks for at least, where the queue gives as many and there is room."""

EXTRA_WAIT: Final = 20.0
"""Seconds that a receive beyond the first waits at most, so that it ends when the queue stays empty."""

SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 30.0
"""Seconds between two receives that fail; doubled each time, and up to half of it left to chance."""


class Receiver:
    """The receives of one queue: one while it is empty, more while they come back full."""

    def __init__(
        self,
        queue: Queue,
        *,
        clock: Clock,
        watch: Watch,
        slots: Slots,
        hands: Hands,
        carrier: Carrier,
        keeper: Keeper | None,
        start_carrier: Callable[[Coroutine[object, object, None]], object],
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._watch = watch
        self._slots = slots
        self._hands = hands
        self._carrier = carrier
        self._keeper = keeper
        self._start_carrier = start_carrier
        self._tasks: dict[asyncio.Task[None], bool] = {}
        self._stopping = False

    async def run(self) -> None:
        """Receive until stopped; returns when the last open poll is back."""
        async with asyncio.TaskGroup() as group:
            self._start(group, first=True)

    def allow(self) -> None:
        """Take back a stop: the next run receives."""
        self._stopping = False

    def stop(self) -> None:
        """Start no receive any more. One that waits is ended where that loses nothing, and left to finish elsewhere."""
        self._stopping = True
        for task, polling in self._tasks.items():
            if not polling or self._queue.limits.abandonable:
                task.cancel()

    async def receive_now(self) -> int:
        """Receive one message if one is due, without waiting, and start its carrier; return how many that was.

        While the queue cannot be asked it is tried again, until a stop.
        """
        pause = SHORTEST_PAUSE
        while not self._stopping:
            self._slots.force()  # nothing is in hand, so whoever has the slots only waits for messages, as we do
            try:
                deliveries = await self._queue.backend.receive(1, 0)
            except BaseException as error:
                self._slots.give()
                if not isinstance(error, Exception):
                    raise
                pause = await self._fail(error, pause)
            else:
                return await self._accept(deliveries, 1)
        return 0

    async def _prepare(self) -> None:
        """Let the backend look up what it needs, for as long as that takes."""
        pause = SHORTEST_PAUSE
        while not self._stopping:
            try:
                await self._queue.home.about_to_receive()
            except Exception as error:  # noqa: BLE001 - as with a receive: whatever it is, it may pass
                pause = await self._fail(error, pause)
            else:
                return

    def _start(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        task = group.create_task(self._receive(group, first=first), name=f"dawdle: receive from {self._queue.name}")
        self._tasks[task] = False
        task.add_done_callback(self._tasks.pop)

    async def _receive(self, group: asyncio.TaskGroup, *, first: bool) -> None:
        limits = self._queue.limits
        want = min(limits.max_batch, max(FEW, self._slots.total // 10))
        most = -(-self._slots.total // want)
        if first:
            await self._prepare()
        pause = SHORTEST_PAUSE
        while not self._stopping:
            room = await self._slots.take(want)
            try:
                deliveries = await self._poll(room, limits.max_wait if first else min(limits.max_wait, EXTRA_WAIT))
            except BaseException as error:
                self._slots.give(room)
                if not isinstance(error, Exception):
                    raise
                pause = await self._fail(error, pause)
                continue
            pause = SHORTEST_PAUSE
            await self._accept(deliveries, room)
            if len(deliveries) == room and not self._stopping and len(self._tasks) < most:
                self._start(group, first=False)
            if not deliveries and not first:
                return

    async def _poll(self, room: int, wait: float) -> list[Delivery]:
        task = asyncio.current_task()
        assert task is not None, "a receive runs in a task"
        self._tasks[task] = True
        try:
            return await self._queue.backend.receive(room, wait)
        finally:
            self._tasks[task] = False

    async def _accept(self, deliveries: list[Delivery], room: int) -> int:
        """Start a carrier for each message, give back the slots that nothing came for, and return how many started."""
        if self._watch:
            self._watch(Received(self._queue.name, len(deliveries)))
        taken = [each for delivery in deliveries if (each := self._take(delivery)) is not None]
        self._slots.give(room - len(taken))
        cancelled: asyncio.CancelledError | None = None
        for hand, delivery in taken:
            try:
                await self._slots.begin()
            except asyncio.CancelledError as error:
                cancelled = error
                self._slots.begin_anyway()
            # When we are to stop no handler starts, and the message is given back.
            hand.interrupted = hand.interrupted or self._stopping
            self._start_carrier(self._carrier.carry(hand, delivery, self._keeper))
        if cancelled is not None:
            raise cancelled
        return len(taken)

    def _take(self, delivery: Delivery) -> tuple[Hand, Delivery] | None:
        """Take a message in hand; None if it is there already, and had only come again."""
        if self._hands.adopt(self._queue, delivery) is not None:
            return None
        hand = Hand(self._queue, delivery, self._clock)
        self._hands.add(hand)
        if self._keeper is not None:
            self._keeper.hold(hand)
        return hand, delivery

    async def _fail(self, error: Exception, longest: float) -> float:
        """Tell of a failure, wait for up to `longest` seconds, and return what the next failure may wait for."""
        pause = longest * (1 - random.random() / 2)
        told = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
        _log.warning("receiving from %s failed, the next try is in %.2g s: %s", self._queue.name, pause, told)
        if self._watch:
            self._watch(ReceiveFailed(self._queue.name, told, pause))
        await self._clock.sleep_until(self._clock.monotonic() + pause)
        return min(longest * 2, LONGEST_PAUSE)
