"""Ends what still runs when an app is left and its grace is over: what may be cancelled, and what must be settled."""

import asyncio
from collections.abc import Collection
from typing import Final

from dawdle._flow.aside import FAREWELL
from dawdle._flow.carrier import Carrier
from dawdle._flow.hands import Hands
from dawdle._flow.listener import FLUSH
from dawdle._flow.queue import Queue
from dawdle._log import Log
from dawdle.abc import Clock, Deadline

__all__ = ["Ending", "Tasks"]

_log = Log(__name__)

CANCELLATIONS: Final = 100
"""How often a task is cancelled that ignores it, until the app is left without it."""

AGAIN: Final = 0.01
"""Seconds from one cancellation to the next."""


class Tasks:
    """The tasks of one app, by what a stop may do with them."""

    def __init__(self) -> None:
        self.carriers: set[asyncio.Task[None]] = set()
        """Each carries a message or a direct event, and is never cancelled by a stop: it settles."""
        self.receives: set[asyncio.Task[None]] = set()
        self.calls: set[asyncio.Task[None]] = set()
        """Calls to the queues, and what renews leases."""
        self.left_behind: set[asyncio.Task[None]] = set()
        """What nothing could end."""
        self.stuck: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once something is left behind: then nobody waits for it."""


class Ending:
    """The end of one app, after its grace."""

    def __init__(
        self, tasks: Tasks, *, hands: Hands, carrier: Carrier, queues: Collection[Queue], clock: Clock
    ) -> None:
        self._tasks = tasks
        self._hands = hands
        self._carrier = carrier
        self._queues = queues
        self._clock = clock

    async def end_work(self) -> None:
        """End what still runs once the grace and the flush are over: handlers and receives are cancelled, settling not.

        What waits for the queue's answer waits no longer. What nothing can end is left behind, and its event settled.
        """
        for hand in self._hands:
            hand.give_up()
        for _ in range(CANCELLATIONS):
            if not self._tasks.carriers and not self._tasks.receives:
                return
            self._hands.interrupt()
            for task in self._tasks.receives:
                task.cancel()
            await asyncio.wait({*self._tasks.carriers, *self._tasks.receives}, timeout=AGAIN)
        await self._abandon()
        self._leave_behind({*self._tasks.carriers, *self._tasks.receives})

    async def _abandon(self) -> None:
        """Settle, as far as the queue answers in time, whatever has a handler that nothing can end.

        What came to be settled only now, since its handler took its time to end, has as long.
        """
        hands = list(self._hands)
        if not hands:
            return
        abandoning = [asyncio.create_task(self._carrier.abandon(hand), name="dawdle: settle") for hand in hands]
        loop = asyncio.get_running_loop()
        until = loop.time() + FLUSH
        await asyncio.sleep(0)  # each of them begins
        while any(hand.settling is not None for hand in hands) and loop.time() < until:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(AGAIN)
        for hand in hands:
            hand.give_up()
        await asyncio.wait(abandoning)
        if self._tasks.carriers:  # those that have given up just now are not left behind
            await asyncio.wait(self._tasks.carriers, timeout=10 * AGAIN)

    async def end_calls(self) -> None:
        """Cancel the calls to the queues that still run, again and again for a while: some swallow cancellations."""
        patience = FAREWELL + AGAIN
        for _ in range(CANCELLATIONS):
            if not self._tasks.calls:
                return
            for task in self._tasks.calls:
                task.cancel()
            await asyncio.wait(self._tasks.calls, timeout=patience)
            patience = AGAIN
        self._leave_behind(self._tasks.calls)

    def _leave_behind(self, tasks: set[asyncio.Task[None]]) -> None:
        """Note what nothing could end, and let the leaving return without it."""
        if tasks and not self._tasks.stuck.done():
            self._tasks.left_behind = tasks
            self._tasks.stuck.set_result(None)

    async def flush(self) -> None:
        """Let every call that was asked for be answered, for as long as a flush may take by either clock."""
        try:
            async with asyncio.timeout(FLUSH), Deadline(self._clock, self._clock.monotonic() + FLUSH):
                for queue in self._queues:
                    await queue.flush()
        except TimeoutError:
            _log.warning("a queue has not answered for %g s and is left; what it was asked for may be done", FLUSH)
