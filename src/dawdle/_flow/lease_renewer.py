"""Renews the leases of messages in flight, from the receive until they are settled, so that no other node gets them.

A message's lease:

    hold ──► held ── a third of the lease ──► renewing ──┬── renewed, or to be tried again ──► held
              │                                          ├── lost ──► its handlers are cancelled
              └── drop ──► no longer renewed             └── held for max_hold ──► its handlers are cancelled

Which code runs where:

    in the app's loop      ready, hold, drop, _lose, all logs and hooks
    in the renewing loop   run, _due, _renew_all, _renew: the app's loop, or that of a second thread

The second thread is for queues that other processes receive from: a handler that blocks the app's loop must not cost
its message the lease. The lock guards what both threads touch: `_leases`, `_renewing`, `_waits_for_lease`.
It is never held across an await. The renewing loop calls into the app's loop by `call_soon_threadsafe` only.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.queue_client import QueueClient
from dawdle._log import EventLog
from dawdle._rules.leases import Leases
from dawdle.abc import Clock, Deadline, Fault, Renew
from dawdle.errors import BackendError
from dawdle.hooks import LeaseLost

__all__ = ["LeaseRenewer"]

_log = EventLog(__name__)

RENEWAL_TIMEOUT_SHARE: Final = 1 / 4
"""The part of a lease within which a renewal must be answered: then there is time for another try."""

MAX_RENEWAL_CALLS: Final = 8
"""Renewal calls at the same time: one after another, the last ones would come too late on a slow network."""


class LeaseRenewer:
    """The leases of one queue. It wakes once per third of a lease, so a fast handler costs it an entry in a dict."""

    def __init__(
        self, queue: QueueClient, clock: Clock, hooks: HookCaller, start: Callable[["LeaseRenewer"], object]
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._hooks = hooks
        self._start: Callable[[LeaseRenewer], object] | None = start
        self._lease = queue.limits.lease or 0.0
        self._app_loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._leases: Leases[InFlightMessage] = Leases(self._lease, queue.limits.max_hold)
        self._renewing: dict[InFlightMessage, Future[None]] = {}
        self._renewal_loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._held = asyncio.Event()
        self._waits_for_lease = False

    async def ready(self) -> None:
        """Start the renewing loop unless it runs, and return when it is connected or has failed to connect."""
        # Before the first receive: a second thread needs the interpreter to start and to connect. With a message
        # already in flight, its handler may hold the interpreter for longer than the lease.
        if self._start is not None:
            start, self._start = self._start, None
            start(self)
        await self._ready.wait()

    def hold(self, messages: Sequence[InFlightMessage]) -> None:
        """Renew the leases of messages that were received just now, from now on."""
        with self._lock:
            for message in messages:
                self._leases.hold(message, message.held_since)
            wakes, self._waits_for_lease = self._waits_for_lease, False
        # Only a loop without any lease is woken: the others are due earlier than these. So a message costs no call
        # into the other thread while there is work.
        if wakes and self._renewal_loop is not None:
            self._renewal_loop.call_soon_threadsafe(self._held.set)

    def drop(self, message: InFlightMessage) -> "Future[None] | None":
        """Renew the lease of a message no longer. Return its renewal that is on its way, None as a rule."""
        with self._lock:
            self._leases.drop(message)
            return self._renewing.get(message)

    async def run(self) -> None:
        """Renew until cancelled."""
        self._renewal_loop = asyncio.get_running_loop()
        while not _is_cancelled():
            try:
                async with self._queue.backend.renewer() as silent:
                    renew = self._queue.reported(silent, "renew", self._in_app_loop)
                    self._in_app_loop(self._ready.set)  # an event may be set in its own loop only
                    while not _is_cancelled():
                        await self._renew_all(renew, await self._due())
            except Exception as error:  # noqa: BLE001 - it must not end the app, and is tried again in time
                if _is_cancelled():
                    return
                self._in_app_loop(self._ready.set)  # receives begin all the same: the next try may connect
                self._in_app_loop(self._log_connection, error)
                self._note_failure(error)
                self._fail(await self._due())

    async def _due(self) -> list[InFlightMessage]:
        """Return the next messages to renew, once they are due."""
        while True:
            with self._lock:
                due = self._leases.next_due()
                self._waits_for_lease = due is None
                self._held.clear()
            if due is None:
                await self._held.wait()
                continue
            # No message that comes during this sleep is due before it ends: each waits for the same share of a lease.
            await self._clock.sleep_until(due)
            with self._lock:
                messages = self._leases.due(self._clock.monotonic())
                for message in self._leases.expired():
                    self._in_app_loop(message.expire_hold)
            if messages:
                return messages

    async def _renew_all(self, renew: Renew, messages: Sequence[InFlightMessage]) -> None:
        size = self._queue.limits.max_batch
        batches = deque(messages[first : first + size] for first in range(0, len(messages), size))

        async def renew_batches() -> None:
            while batches:
                await self._renew(renew, batches.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(MAX_RENEWAL_CALLS, len(batches))):
                group.create_task(renew_batches(), name="dawdle: a renewal")

    async def _renew(self, renew: Renew, messages: Sequence[InFlightMessage]) -> None:
        # Of `concurrent.futures`: it is resolved in this thread, and awaited in the app's.
        done: Future[None] = Future()
        with self._lock:
            in_flight = [message for message in messages if message in self._leases]
            self._renewing.update(dict.fromkeys(in_flight, done))
        if not in_flight:
            return
        # The count first: the app's loop may note a newer receive in between, and a newer count with the older receipt
        # would make that receipt's loss look like the message's.
        receives = [message.receive_count for message in in_flight]
        receipts = [message.receipt for message in in_flight]
        try:
            faults = await self._call(renew, receipts)
        except Exception as error:  # noqa: BLE001 - the next renewal is due before the lease ends
            self._in_app_loop(self._log_renewal, len(in_flight), error)
            self._note_failure(error)
            self._fail(in_flight)
            return
        finally:
            with self._lock:
                for message in in_flight:
                    del self._renewing[message]
            done.set_result(None)
        self._in_app_loop(self._queue.calls.answered, self._queue.full_name, "renew", faults)
        for message, count, fault in zip(in_flight, receives, faults, strict=True):
            if fault is not None and fault.kind == "lost":
                # Its count says whether it was received again meanwhile. The receipt would say so too, but asyncio
                # prints the arguments of calls in debug mode, and a receipt is never logged.
                self._in_app_loop(self._lose, message, count)
            elif fault is not None:
                self._fail([message])

    async def _call(self, renew: Renew, receipts: Sequence[str]) -> Sequence[Fault | None]:
        """Renew leases and return an answer for each. Raises `BackendError` where the answer is late or incomplete."""
        seconds = self._lease * RENEWAL_TIMEOUT_SHARE
        try:
            async with Deadline(self._clock, self._clock.monotonic() + seconds):
                faults = await renew(receipts)
        except TimeoutError as error:
            raise BackendError(f"no answer within {seconds:.3g} s") from error
        if len(faults) != len(receipts):
            raise BackendError(
                f"the backend returned {len(faults)} answers for {len(receipts)} entries: each entry needs one"
            )
        return faults

    def _log_connection(self, error: Exception) -> None:
        _log.warning(
            "cannot renew the leases of %s: its connection failed, and opens again for the next renewal: %s",
            self._queue.name,
            error,
            about=None,
        )

    def _log_renewal(self, leases: int, error: Exception) -> None:
        _log.warning(
            "could not renew %d leases of %s; trying again before they end: %s",
            leases,
            self._queue.name,
            error,
            about=None,
        )

    def _note_failure(self, error: Exception) -> None:
        self._in_app_loop(self._queue.calls.failed, self._queue.full_name, "renew", error)

    def _in_app_loop(self, act: Callable[..., object], *arguments: object) -> None:
        """Call something in the app's loop, and so in its thread."""
        self._app_loop.call_soon_threadsafe(act, *arguments)

    def _fail(self, messages: Sequence[InFlightMessage]) -> None:
        with self._lock:
            for message in messages:
                self._leases.failed(message, self._clock.monotonic())

    def _lose(self, message: InFlightMessage, receives: int) -> None:
        """Give up a message that another node may have, unless it was settled or received again by this one."""
        if message.settled or message.receive_count != receives or message not in self._leases:
            return
        self.drop(message)
        held = self._clock.monotonic() - message.held_since
        _log.warning(
            "lost the lease of a message of %s after %.3g s: its handlers are cancelled, and it runs again where it is "
            "received next; set a longer lease if renewals come too late",
            self._queue.name,
            held,
            about=message.about(None if message.work is None else message.work.envelope),
        )
        if self._hooks:
            self._hooks(LeaseLost(self._queue.name, held))
        message.lose_lease()


def _is_cancelled() -> bool:
    """Whether this task was cancelled, even if a backend swallowed that or turned it into another error."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
