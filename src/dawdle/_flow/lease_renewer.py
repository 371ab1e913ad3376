"""Keeps what is in flight hidden from other receives: renews leases from the receive until the settle.

`hold`, `drop` and `rest` are called in the app's loop. `run` is a coroutine of that loop or of another thread's: where
other processes receive from the queue, a handler that blocks the app's loop must not cost it its lease.
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
from dawdle._log import Log
from dawdle._rules.leases import Leases
from dawdle.abc import Clock, Deadline, Renew
from dawdle.errors import BackendError
from dawdle.hooks import LeaseLost

__all__ = ["LeaseRenewer"]

_log = Log(__name__)

RENEWAL_TIMEOUT_SHARE: Final = 1 / 4
"""The share of a lease for which a renewal's answer is waited for."""

MAX_RENEWAL_CALLS: Final = 8
"""Renewals that wait for their answers side by side: one after another, a slow network would lose the last ones."""


class LeaseRenewer:
    """The leases of one queue. It wakes once per third of a lease, so a fast handler costs it an entry in a dict.

    What renews is made before the first receive: while a handler holds the interpreter, that would take too long.
    """

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
        self._leases = Leases(self._lease, queue.limits.max_hold)
        self._messages: dict[str, InFlightMessage] = {}
        self._renewing: dict[str, Future[None]] = {}
        self._renewal_loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._held = asyncio.Event()
        self._waits_for_lease = False

    async def ready(self) -> None:
        """Start what renews, unless it runs, and return once it is made or has said that it cannot be."""
        if self._start is not None:
            start, self._start = self._start, None
            start(self)
        await self._ready.wait()

    def hold(self, message: InFlightMessage) -> None:
        """Keep a message from now on."""
        if message.delivery is None:
            return
        key = message.delivery.key
        with self._lock:
            self._messages[key] = message
            self._leases.hold(key, self._clock.monotonic())
            parked, self._waits_for_lease = self._waits_for_lease, False
        if parked and self._renewal_loop is not None:
            self._renewal_loop.call_soon_threadsafe(self._held.set)

    def drop(self, message: InFlightMessage) -> None:
        """Keep a message no longer."""
        if message.delivery is not None:
            with self._lock:
                self._messages.pop(message.delivery.key, None)
                self._leases.drop(message.delivery.key)

    async def wait_for_renewals(self, message: InFlightMessage) -> None:
        """Return when no renewal of a message that was dropped is on its way any more."""
        under_way = None if message.delivery is None else self._renewing.get(message.delivery.key)
        if under_way is not None:
            await asyncio.wait([asyncio.wrap_future(under_way)])

    async def run(self) -> None:
        """Renew until cancelled."""
        self._renewal_loop = asyncio.get_running_loop()
        while not _is_cancelled():
            try:
                async with self._queue.backend.renewer() as renew:
                    self._in_app_loop(self._ready.set)
                    while not _is_cancelled():
                        await self._renew_all(renew, await self._due())
            except Exception as error:  # noqa: BLE001 - it must not end the app, and is tried again in time
                if _is_cancelled():
                    return
                self._in_app_loop(self._ready.set)
                name = self._queue.name
                self._in_app_loop(_log.warning, "what renews the leases of %s could not be made: %s", name, error)
                self._in_app_loop(self._queue.calls.failed, self._queue.full_name, "renew", error)
                self._fail(await self._due())

    async def _due(self) -> list[str]:
        """Return the next messages to renew, once they are due."""
        while True:
            with self._lock:
                due = self._leases.next_due()
                self._waits_for_lease = due is None
                self._held.clear()
            if due is None:
                await self._held.wait()
                continue
            await self._clock.sleep_until(due)
            with self._lock:
                keys = self._leases.due(self._clock.monotonic())
                for key in self._leases.expired():
                    self._in_app_loop(self._messages.pop(key).expire_hold)
            if keys:
                return keys

    async def _renew_all(self, renew: Renew, keys: Sequence[str]) -> None:
        size = self._queue.limits.max_batch
        batches = deque(keys[first : first + size] for first in range(0, len(keys), size))

        async def fly() -> None:
            while batches:
                await self._renew(renew, batches.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(MAX_RENEWAL_CALLS, len(batches))):
                group.create_task(fly(), name="dawdle: a renewal")

    async def _renew(self, renew: Renew, keys: Sequence[str]) -> None:
        done: Future[None] = Future()
        with self._lock:
            in_flight = {key: self._messages[key] for key in keys if key in self._messages}
            self._renewing.update(dict.fromkeys(in_flight, done))
        if not in_flight:
            return
        receipts = [message.receipt for message in in_flight.values()]
        receives = [message.receive_count for message in in_flight.values()]
        try:
            async with Deadline(self._clock, self._clock.monotonic() + self._lease * RENEWAL_TIMEOUT_SHARE):
                faults = await renew(receipts)
            if len(faults) != len(receipts):
                raise BackendError(f"the queue answered {len(faults)} of {len(receipts)} entries")  # noqa: TRY301 - as any
        except Exception as error:  # noqa: BLE001 - the next renewal is due before the lease ends
            told = BackendError("no answer in time") if isinstance(error, TimeoutError) else error
            name = self._queue.name
            self._in_app_loop(
                _log.warning, "%d leases of %s were not renewed; tried again: %s", len(in_flight), name, told
            )
            self._in_app_loop(self._queue.calls.failed, self._queue.full_name, "renew", told)
            self._fail(list(in_flight))
            return
        finally:
            with self._lock:
                for key in in_flight:
                    del self._renewing[key]
            done.set_result(None)
        self._in_app_loop(self._queue.calls.answered, self._queue.full_name, "renew", faults)
        for (key, message), count, fault in zip(in_flight.items(), receives, faults, strict=True):
            if fault is not None and fault.kind == "lost":
                self._in_app_loop(
                    self._lose, message, count
                )  # and not the receipt: asyncio prints arguments in debug mode
            elif fault is not None:
                self._fail([key])

    def _in_app_loop(self, act: Callable[..., object], *arguments: object) -> None:
        """Do something in the app's own loop and thread."""
        self._app_loop.call_soon_threadsafe(act, *arguments)

    def _fail(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._leases.failed(key, self._clock.monotonic())

    def _lose(self, message: InFlightMessage, receives: int) -> None:
        """Let go of a message that is somebody else's, unless it was settled meanwhile, or has come again to us."""
        assert message.delivery is not None, "only messages have leases"
        if (
            message.settled
            or message.receive_count != receives
            or self._messages.get(message.delivery.key) is not message
        ):
            return
        self.drop(message)
        held = self._clock.monotonic() - message.held_since
        _log.warning(
            "lost the lease of a message of %s after %.3g s: its handlers are cancelled here, and it runs again where "
            "it is received next. Take a longer lease if renewals came too late",
            self._queue.name,
            held,
        )
        if self._hooks:
            self._hooks(LeaseLost(self._queue.name, held))
        message.lose_lease()


def _is_cancelled() -> bool:
    """Whether this task is to end, also where a backend made another error of that, or nothing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
