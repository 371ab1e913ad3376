"""Keeps what is in hand hidden from other receives: renews leases from the receive until the settle.

`hold`, `drop` and `rest` are called in the app's loop. `run` is a coroutine of that loop or of another thread's: where
other processes receive from the queue, a handler that blocks the app's loop must not cost it its lease.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from dawdle._flow.hand import Hand
from dawdle._flow.queue import Queue
from dawdle._flow.watch import Watch
from dawdle._log import Log
from dawdle._rules.leases import Leases
from dawdle.abc import Clock, Deadline, Renew
from dawdle.errors import BackendError
from dawdle.hooks import LeaseLost

__all__ = ["Keeper"]

_log = Log(__name__)

ANSWER: Final = 1 / 4
"""The share of a lease for which a renewal's answer is waited for."""

FLIGHTS: Final = 8
"""Renewals that wait for their answers side by side: one after another, a slow network would lose the last ones."""


class Keeper:
    """The leases of one queue. It wakes once per third of a lease, so a fast handler costs it an entry in a dict.

    What renews is made before the first receive: while a handler holds the interpreter, that would take too long.
    """

    def __init__(self, queue: Queue, clock: Clock, watch: Watch, start: Callable[["Keeper"], object]) -> None:
        self._queue = queue
        self._clock = clock
        self._watch = watch
        self._start: Callable[[Keeper], object] | None = start
        self._lease = queue.limits.lease or 0.0
        self._home = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._leases = Leases(self._lease, queue.limits.max_hold)
        self._hands: dict[str, Hand] = {}
        self._renewing: dict[str, Future[None]] = {}
        self._runner: asyncio.AbstractEventLoop | None = None
        self._made = asyncio.Event()
        self._held = asyncio.Event()
        self._parked = False

    async def ready(self) -> None:
        """Start what renews, unless it runs, and return once it is made or has said that it cannot be."""
        if self._start is not None:
            start, self._start = self._start, None
            start(self)
        await self._made.wait()

    def hold(self, hand: Hand) -> None:
        """Keep a message from now on."""
        if hand.delivery is None:
            return
        key = hand.delivery.key
        with self._lock:
            self._hands[key] = hand
            self._leases.hold(key, self._clock.monotonic())
            parked, self._parked = self._parked, False
        if parked and self._runner is not None:
            self._runner.call_soon_threadsafe(self._held.set)

    def drop(self, hand: Hand) -> None:
        """Keep a message no longer."""
        if hand.delivery is not None:
            with self._lock:
                self._hands.pop(hand.delivery.key, None)
                self._leases.drop(hand.delivery.key)

    async def rest(self, hand: Hand) -> None:
        """Return when no renewal of a message that was dropped is on its way any more."""
        under_way = None if hand.delivery is None else self._renewing.get(hand.delivery.key)
        if under_way is not None:
            await asyncio.wait([asyncio.wrap_future(under_way)])

    async def run(self) -> None:
        """Renew until cancelled."""
        self._runner = asyncio.get_running_loop()
        while not _is_cancelled():
            try:
                async with self._queue.backend.renewer() as renew:
                    self._at_home(self._made.set)
                    while not _is_cancelled():
                        await self._renew_all(renew, await self._due())
            except Exception as error:  # noqa: BLE001 - it must not end the app, and is tried again in time
                if _is_cancelled():
                    return
                self._at_home(self._made.set)
                name = self._queue.name
                self._at_home(_log.warning, "what renews the leases of %s could not be made: %s", name, error)
                self._at_home(self._queue.calls.failed, self._queue.full_name, "renew", error)
                self._fail(await self._due())

    async def _due(self) -> list[str]:
        """Return the next messages to renew, once they are due."""
        while True:
            with self._lock:
                due = self._leases.next_due()
                self._parked = due is None
                self._held.clear()
            if due is None:
                await self._held.wait()
                continue
            await self._clock.sleep_until(due)
            with self._lock:
                keys = self._leases.due(self._clock.monotonic())
                for key in self._leases.over():
                    self._at_home(self._hands.pop(key).outlive)
            if keys:
                return keys

    async def _renew_all(self, renew: Renew, keys: Sequence[str]) -> None:
        size = self._queue.limits.max_batch
        batches = deque(keys[first : first + size] for first in range(0, len(keys), size))

        async def fly() -> None:
            while batches:
                await self._renew(renew, batches.popleft())

        async with asyncio.TaskGroup() as group:
            for _ in range(min(FLIGHTS, len(batches))):
                group.create_task(fly(), name="dawdle: a renewal")

    async def _renew(self, renew: Renew, keys: Sequence[str]) -> None:
        done: Future[None] = Future()
        with self._lock:
            hands = {key: self._hands[key] for key in keys if key in self._hands}
            self._renewing.update(dict.fromkeys(hands, done))
        if not hands:
            return
        receipts = [hand.receipt for hand in hands.values()]
        receives = [hand.receives for hand in hands.values()]
        try:
            async with Deadline(self._clock, self._clock.monotonic() + self._lease * ANSWER):
                faults = await renew(receipts)
            if len(faults) != len(receipts):
                raise BackendError(f"the queue answered {len(faults)} of {len(receipts)} entries")  # noqa: TRY301 - as any
        except Exception as error:  # noqa: BLE001 - the next renewal is due before the lease ends
            told = BackendError("no answer in time") if isinstance(error, TimeoutError) else error
            name = self._queue.name
            self._at_home(_log.warning, "%d leases of %s were not renewed; tried again: %s", len(hands), name, told)
            self._at_home(self._queue.calls.failed, self._queue.full_name, "renew", told)
            self._fail(list(hands))
            return
        finally:
            with self._lock:
                for key in hands:
                    del self._renewing[key]
            done.set_result(None)
        self._at_home(self._queue.calls.answered, self._queue.full_name, "renew", faults)
        for (key, hand), count, fault in zip(hands.items(), receives, faults, strict=True):
            if fault is not None and fault.kind == "lost":
                self._at_home(self._lose, hand, count)  # and not the receipt: asyncio prints arguments in debug mode
            elif fault is not None:
                self._fail([key])

    def _at_home(self, act: Callable[..., object], *arguments: object) -> None:
        """Do something in the app's own loop and thread."""
        self._home.call_soon_threadsafe(act, *arguments)

    def _fail(self, keys: Sequence[str]) -> None:
        with self._lock:
            for key in keys:
                self._leases.failed(key, self._clock.monotonic())

    def _lose(self, hand: Hand, receives: int) -> None:
        """Let go of a message that is somebody else's, unless it was settled meanwhile, or has come again to us."""
        assert hand.delivery is not None, "only messages have leases"
        if hand.settled or hand.receives != receives or self._hands.get(hand.delivery.key) is not hand:
            return
        self.drop(hand)
        held = self._clock.monotonic() - hand.since
        _log.warning(
            "lost the lease of a message of %s after %.3g s: its handlers are cancelled here, and it runs again where "
            "it is received next. Take a longer lease if renewals came too late",
            self._queue.name,
            held,
        )
        if self._watch:
            self._watch(LeaseLost(self._queue.name, held))
        hand.lose()


def _is_cancelled() -> bool:
    """Whether this task is to end, also where a backend made another error of that, or nothing."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
