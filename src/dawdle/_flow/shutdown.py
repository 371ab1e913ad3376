"""Ends what still runs when an app is left and its grace is over: what may be cancelled, and what must be settled."""

import asyncio
from collections.abc import Collection
from typing import Final

from dawdle._flow.in_flight import InFlight
from dawdle._flow.listener import FLUSH_SECONDS
from dawdle._flow.processor import Processor
from dawdle._flow.queue_client import QueueClient
from dawdle._flow.side_thread import LOOP_THREAD_STOP_SECONDS
from dawdle._log import EventLog
from dawdle.abc import Clock, Deadline

__all__ = ["Shutdown", "Tasks"]

_log = EventLog(__name__)

MAX_CANCEL_ATTEMPTS: Final = 100
"""How often a task is cancelled that ignores it, until the app is left without it."""

CANCEL_RETRY_SECONDS: Final = 0.01
"""Seconds from one cancellation to the next."""


class Tasks:
    """The tasks of one app, by what a stop may do with them."""

    def __init__(self) -> None:
        self.processors: set[asyncio.Task[None]] = set()
        """Each processes a message or a direct event. A stop never cancels one: it settles."""
        self.receives: set[asyncio.Task[None]] = set()
        self.notices: set[asyncio.Task[None]] = set()
        """Each calls the handlers of one dead letter."""
        self.calls: set[asyncio.Task[None]] = set()
        """Calls to the queues, and what renews leases."""
        self.abandoned: set[asyncio.Task[None]] = set()
        """Tasks that ignored every cancellation."""
        self.any_abandoned: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once there is such a task: then the leaving returns without it."""


class Shutdown:
    """The end of one app, after its grace.

    Why cancellations are repeated: `Task.cancel()` is a request, and code may swallow it, as `except BaseException` in
    a loop does, or an `await` in a `finally`. A second request often ends what the first did not. After a hundred,
    within a second or two, the task counts as one that ignores them, and the app is left without it.
    """

    def __init__(
        self, tasks: Tasks, *, in_flight: InFlight, processor: Processor, queues: Collection[QueueClient], clock: Clock
    ) -> None:
        self._tasks = tasks
        self._in_flight = in_flight
        self._processor = processor
        self._queues = queues
        self._clock = clock

    async def end_work(self) -> None:
        """End what still runs once the grace and the flush are over: handlers and receives are cancelled, settling not.

        A settling that waits for the queue's answer waits no longer. A handler that ignores its cancellation is left
        running, and its event is settled without it.
        """
        for message in self._in_flight:
            message.stop_waiting()
        for _ in range(MAX_CANCEL_ATTEMPTS):
            left = {*self._tasks.processors, *self._tasks.receives, *self._tasks.notices}
            if not left:
                return
            self._in_flight.interrupt()
            for task in (*self._tasks.receives, *self._tasks.notices):
                task.cancel()
            await asyncio.wait(left, timeout=CANCEL_RETRY_SECONDS)
        await self._abandon_handlers()
        self._abandon_tasks({*self._tasks.processors, *self._tasks.receives, *self._tasks.notices})

    async def _abandon_handlers(self) -> None:
        """Settle the events whose handlers ignore their cancellation, as far as the queue answers in time.

        A message whose settling begins only now, because its handler was slow to end, has as long.
        """
        in_flight = list(self._in_flight)
        if not in_flight:
            return
        abandoning = [
            asyncio.create_task(self._processor.abandon(message), name="dawdle: settle") for message in in_flight
        ]
        loop = asyncio.get_running_loop()
        until = loop.time() + FLUSH_SECONDS
        await asyncio.sleep(0)  # each of them begins
        while any(message.settling is not None for message in in_flight) and loop.time() < until:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(CANCEL_RETRY_SECONDS)
        for message in in_flight:
            message.stop_waiting()
        await asyncio.wait(abandoning)
        if self._tasks.processors:  # those that stopped waiting just now end by themselves
            await asyncio.wait(self._tasks.processors, timeout=10 * CANCEL_RETRY_SECONDS)

    async def end_calls(self) -> None:
        """Cancel the calls to the queues that still run, again and again for a while: some swallow cancellations."""
        # The first wait is longer: the side thread has that long to end its renewals.
        timeout = LOOP_THREAD_STOP_SECONDS + CANCEL_RETRY_SECONDS
        for _ in range(MAX_CANCEL_ATTEMPTS):
            if not self._tasks.calls:
                return
            for task in self._tasks.calls:
                task.cancel()
            await asyncio.wait(self._tasks.calls, timeout=timeout)
            timeout = CANCEL_RETRY_SECONDS
        self._abandon_tasks(self._tasks.calls)

    def _abandon_tasks(self, tasks: set[asyncio.Task[None]]) -> None:
        """Note the tasks that ignore cancellation, and let the leaving return without them."""
        if tasks and not self._tasks.any_abandoned.done():
            self._tasks.abandoned = tasks
            self._tasks.any_abandoned.set_result(None)

    async def flush(self) -> None:
        """Wait for the answers to all requests, for as long as a flush may take by either clock."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS), Deadline(self._clock, self._clock.monotonic() + FLUSH_SECONDS):
                for queue in self._queues:
                    await queue.flush()
        except TimeoutError:
            _log.warning(
                "closed the app although a queue has not answered for %g s: its last requests may or may not be done",
                FLUSH_SECONDS,
                about=None,
            )
