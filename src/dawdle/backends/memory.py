"""The queue in memory: leases, delays and redelivery as on a real queue, in one process. Knows bytes, not events.

A message is in one of three places, and moves by a call or by the time alone::

    _delayed ──── its delay ends ────► _ready ──── receive ────► _in_flight ──── ack ────► gone
       ▲                                 ▲                            │
       └──────── release for later ──────┼────────────────────────────┤
                                         └── its lease ends, release ─┘

With `ordered=True` the ready messages are in a `GroupedBacklog`: those behind one that is in flight wait there.

No task and no timer moves them: whatever reads them calls `_update_visibility` first, and a receive that waits wakes
itself at the next time that makes a message visible.
"""

import asyncio
import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from math import inf
from types import TracebackType
from typing import Final, Self

import msgspec

from dawdle._log import Log
from dawdle.abc import (
    Clock,
    Counts,
    Deadline,
    Delivery,
    Fault,
    Limits,
    Outgoing,
    ReleaseEntry,
    Renew,
    Stored,
    SystemClock,
)
from dawdle.backends._browse_order import BrowseOrder
from dawdle.backends._grouped_backlog import GroupedBacklog
from dawdle.backends._open_guard import OpenGuard
from dawdle.errors import ConfigurationError, require_bool, to_seconds

__all__ = ["Memory"]

_log = Log(__name__)

DEDUPLICATION_SECONDS: Final = 300.0
"""Seconds for which an ordered queue knows a deduplication id: as long as a FIFO queue of SQS."""


class _Message(msgspec.Struct, gc=False):  # nothing in it refers to it, so the garbage collector need not look
    number: int
    body: bytes
    group: str | None
    stored_at: float
    visible_at: float
    """When its delay or its lease ends, by the clock's `monotonic()`. Unused while it is ready."""
    receive_count: int = 0


class Memory:
    """A queue in memory: leases, receive counts, delays, dead letters, redelivery. It ends with its process.

    - `lease`: seconds, or a timedelta, that a received message stays hidden without a renewal.
    - `max_body`: bytes; the default is that of SQS, so that what works here works there.
    - `max_delay`: seconds, or a timedelta; without a limit as a rule, 900 to try what a delay does on SQS.
    - `max_batch`: messages in one call.
    - `dead_letters`: whether there is a second queue in memory, for what was given up.
    - `ordered`: like a FIFO queue of SQS, it delivers the messages of one group one after another, stores what has the
      same deduplication id within 300 s only once, and delays nothing itself: `delayed` is a second queue in memory for
      that. With `max_delay=0` it has none.
    - `clock`: the time that leases and delays go by, such as `dawdle.testing.ManualClock()`; default: the app's. Its
      time of day is read when the queue is opened, and counted on from there: one that is set anew meanwhile moves no
      delay.

    Use one in one app at a time, and in one event loop; a second opening is a `ConfigurationError`. `messages()` looks
    inside.
    """

    def __init__(
        self,
        *,
        lease: float | timedelta = 60.0,
        max_body: int = 1_048_576,
        max_delay: float | timedelta = inf,
        max_batch: int = 100,
        dead_letters: bool = True,
        ordered: bool = False,
        clock: Clock | None = None,
    ) -> None:
        lease = to_seconds(lease, "Memory takes a lease of", most=inf, above=True)
        if max_batch < 1 or max_body < 1:
            raise ConfigurationError(
                f"Memory takes a max_batch and a max_body of 1 or more, not {max_batch=}, {max_body=}"
            )
        ordered = require_bool(ordered, "Memory takes ordered=,")
        max_delay = to_seconds(max_delay, "Memory takes a max_delay of", most=inf)
        self.limits = Limits(
            max_batch=max_batch,
            max_body=max_body,
            max_batch_bytes=max_body * max_batch,
            max_delay=0.0 if ordered else max_delay,
            max_wait=inf,
            lease=lease,
            can_release_later=True,
            ordered=ordered,
            durable=False,
            shared=False,
            receive_cancellable=True,
        )
        self._has_own_clock = clock is not None
        self._clock: Clock = SystemClock() if clock is None else clock
        self._epoch: float | None = None
        self._numbers = itertools.count(1)
        self._ready: deque[_Message] = deque()
        self._groups: GroupedBacklog[_Message] | None = GroupedBacklog() if ordered else None
        """In place of `_ready`, if it is ordered."""
        self._known: OrderedDict[str, float] = OrderedDict()  # until when a deduplication id is known, if it is ordered
        # A heap by the time of the end of the delay. The number keeps two messages of one time in their order.
        self._delayed: list[tuple[float, int, _Message]] = []
        # By receipt. All leases are of one length, so the order of insertion is the order of expiry, and the first
        # message expires first. A renewal removes and inserts it again.
        self._in_flight: dict[str, _Message] = {}
        # No lease ends before this. It is looked up anew only when it has passed: in a dict whose first entries were
        # deleted, the first one is found by a search, which took half of the time with 10,000 in flight.
        self._next_expiry = inf
        self._browse_order = BrowseOrder(self._all)
        # By turn: the number that each waiting receive drew when it began.
        self._waiting_receives: dict[int, asyncio.Future[None]] = {}
        self._open_guard = OpenGuard()
        self._dead: Memory | None = None
        self._delayed_queue: Memory | None = None
        if require_bool(dead_letters, "Memory takes dead_letters=,"):
            self._dead = self._attached(lease, max_body, max_batch, inf)
        if ordered and max_delay:
            self._delayed_queue = self._attached(lease, max_body, max_batch, max_delay)

    @property
    def clock(self) -> Clock:
        """The time that its leases and delays go by."""
        return self._clock

    def use_clock(self, clock: Clock) -> None:
        """Go by this clock, unless the queue was given one, is open, or holds messages with times of another clock."""
        if not self._has_own_clock and not self._open_guard.is_open and not self._holds_messages():
            for each in (self, self._dead, self._delayed_queue):
                if each is not None:
                    each._clock = clock

    @property
    def dead_letters(self) -> "Memory | None":
        """The queue that keeps what was given up."""
        return self._dead

    @property
    def delayed(self) -> "Memory | None":
        """The queue in which delayed messages wait if this one is ordered; else None: it delays its own."""
        return self._delayed_queue

    @property
    def description(self) -> Mapping[str, str | int]:
        """What telemetry says of it."""
        return {"messaging.system": "memory"}

    async def __aenter__(self) -> Self:
        self._open_guard.mark_open(self)
        if not self.messages():
            self._set_clock()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open_guard.mark_closed()
        self._log_left(len(self.messages()))

    def _log_left(self, left: int) -> None:
        """Log how many messages are left in a queue that is closed."""
        if left:
            _log.warning(
                "the queue in memory still holds messages: %d. They are lost when this process ends; a durable queue "
                "keeps them",
                left,
            )

    async def prepare_receive(self) -> None:
        """Do nothing: there is nothing to look up."""

    def messages(self) -> list[bytes]:
        """Return the bodies of all messages: ready, in flight, delayed. Receives none of them."""
        held = [message.body for message in self._all()]
        return held if self._delayed_queue is None else held + self._delayed_queue.messages()

    async def count(self) -> Counts:
        """Return how many messages are ready, in flight and delayed, exactly."""
        self._update_visibility(self._clock.monotonic())
        waiting = len(self._ready if self._groups is None else self._groups)
        return Counts(waiting=waiting, in_flight=len(self._in_flight), delayed=len(self._delayed))

    async def browse(self, limit: int, after: str | None = None) -> list[Stored]:
        """Return up to `limit` messages in the order in which they were stored, those behind the one with this key."""
        if after is not None:
            await asyncio.sleep(0)  # nothing else here suspends, and a look may take very many pages
        page = self._browse_order.page(limit, None if after is None else int(after.removeprefix("m")))
        return [Stored(f"m{each.number}", each.body, each.stored_at, each.group) for each in page]

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages. One that is too large, or delayed for too long, is refused alone."""
        now = self._clock.monotonic()
        stored_at = now + self._time_of_day()
        return [self._store(outgoing, now, stored_at) for outgoing in batch]

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Receive up to `limit` messages, waiting up to `wait` seconds for the first. Loses none when cancelled."""
        until = self._clock.monotonic() + wait
        turn = next(self._numbers)
        while not (got := self._claim(limit)) and self._clock.monotonic() < until:
            # A message that this receive is woken for may be taken by another one first. Then it waits again, with its
            # old turn: the receive that has waited for longest is served first.
            await self._wait_for_change(turn, min(until, self._next_visible_at()))
        return got

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete received messages. A receipt from an earlier receive deletes nothing."""
        if self._groups is None and not self._browse_order.messages:
            for receipt in receipts:
                self._in_flight.pop(receipt, None)
        else:
            self._drop(receipts)
        return [None] * len(receipts)

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Hide received messages for a full lease from now."""
        return [self._renew(receipt) for receipt in receipts]

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Let messages be received again in so many seconds."""
        return [self._release(receipt, seconds) for receipt, seconds in batch]

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Renew]:
        """Yield `renew` itself."""
        yield self.renew

    def _all(self) -> list[_Message]:
        """Return all messages: ready, in flight, delayed."""
        delayed = (message for _, _, message in sorted(self._delayed))
        ready = self._ready if self._groups is None else self._groups
        return [*ready, *self._in_flight.values(), *delayed]

    def _holds_messages(self) -> bool:
        return bool(self.messages() or (self._dead is not None and self._dead.messages()))

    def _set_clock(self) -> float:
        """Set this queue's time of day from the clock, only while nothing is stored. Return it at `monotonic()` 0."""
        epoch = self._epoch = self._clock.now() - self._clock.monotonic()
        for attached in (self._dead, self._delayed_queue):
            if attached is not None and not attached.messages():
                attached._epoch = epoch
        return epoch

    def _attached(self, lease: float, max_body: int, max_batch: int, max_delay: float) -> "Memory":
        """Return a second queue of this one, that is open together with it, in one app."""
        attached = Memory(
            lease=lease,
            max_body=max_body,
            max_batch=max_batch,
            max_delay=max_delay,
            dead_letters=False,
            clock=self._clock,
        )
        attached._open_guard = self._open_guard
        return attached

    def _time_of_day(self) -> float:
        """Return the time of day at `monotonic()` 0 by this queue's own clock, which never jumps.

        A delayed event carries the time of day at which it is due, and waits for it by `monotonic()`. If the time of
        day were read each time, a clock that is set back by a day would make the event wait for a day more.
        """
        return self._set_clock() if self._epoch is None else self._epoch

    def _store(self, outgoing: Outgoing, now: float, stored_at: float) -> Fault | None:
        if len(outgoing.body) > self.limits.max_body:
            return Fault(
                "refused",
                f"the body has {len(outgoing.body):,} bytes, and this queue takes at most {self.limits.max_body:,}",
            )
        if not 0 <= outgoing.delay <= self.limits.max_delay:
            return Fault(
                "refused", f"the delay is {outgoing.delay} s, and this queue takes 0 to {self.limits.max_delay}"
            )
        if self._groups is not None and self._is_known(outgoing.dedup, now):
            return None
        message = _Message(next(self._numbers), outgoing.body, outgoing.group, stored_at, now + outgoing.delay)
        if self._groups is not None:
            self._groups.add(message)
        elif outgoing.delay > 0:
            heapq.heappush(self._delayed, (message.visible_at, message.number, message))
        else:
            self._ready.append(message)
        if self._waiting_receives:
            self._wake()
        return None

    def _is_known(self, dedup: str | None, now: float) -> bool:
        """Whether a message with this deduplication id was stored a short time ago; if not, note it."""
        while self._known and next(iter(self._known.values())) <= now:
            self._known.popitem(last=False)
        if dedup is None or dedup in self._known:
            return dedup is not None
        self._known[dedup] = now + DEDUPLICATION_SECONDS
        return False

    def _claim(self, limit: int) -> list[Delivery]:
        now = self._clock.monotonic()
        self._update_visibility(now)
        if not (self._ready if self._groups is None else self._groups):
            return []
        self._wake()  # one receive that waits, so that it wakes up when these new leases end
        lease_end, received_at = now + (self.limits.lease or inf), now + self._time_of_day()
        if not self._in_flight:
            self._next_expiry = lease_end
        if self._groups is not None:
            return [self._deliver(message, lease_end, received_at) for message in self._groups.take(limit)]
        return [
            self._deliver(self._ready.popleft(), lease_end, received_at) for _ in range(min(limit, len(self._ready)))
        ]

    def _update_visibility(self, now: float) -> None:
        """Make the messages visible whose delay or lease has ended."""
        while self._delayed and self._delayed[0][0] <= now:
            self._show(heapq.heappop(self._delayed)[2])
        if self._next_expiry <= now:
            for receipt, message in list(
                itertools.takewhile(lambda entry: entry[1].visible_at <= now, self._in_flight.items())
            ):
                del self._in_flight[receipt]
                self._show(message)
            self._next_expiry = next((held.visible_at for held in self._in_flight.values()), inf)

    def _show(self, message: _Message) -> None:
        """Make a message visible whose delay or lease has ended. An ordered queue has held its group until now."""
        if self._groups is None:
            self._ready.append(message)
        else:
            self._groups.put_back(message)

    def _drop(self, receipts: Sequence[str]) -> None:
        for receipt in receipts:
            message = self._in_flight.pop(receipt, None)
            if message is not None:
                self._browse_order.messages.pop(message.number, None)
                if self._groups is not None:
                    self._groups.drop(message)
                    self._wake()  # the next message of its group may be received now

    def _deliver(self, message: _Message, lease_end: float, received_at: float) -> Delivery:
        message.receive_count += 1
        message.visible_at = lease_end
        key = f"m{message.number}"
        # New on every receive, so that one from before the lease ended no longer finds the message.
        receipt = f"{key}.{message.receive_count}"
        self._in_flight[receipt] = message
        return Delivery(
            receipt, key, message.body, message.receive_count, message.stored_at, received_at, message.group
        )

    def _renew(self, receipt: str) -> Fault | None:
        self._update_visibility(self._clock.monotonic())
        message = self._in_flight.pop(receipt, None)
        if message is None:
            return Fault("lost", "the lease has ended, and another receive may have the message")
        message.visible_at = self._clock.monotonic() + (self.limits.lease or inf)
        self._in_flight[receipt] = message
        return None

    def _release(self, receipt: str, seconds: float) -> Fault | None:
        self._update_visibility(self._clock.monotonic())
        message = self._in_flight.pop(receipt, None)
        if message is None:
            return Fault("lost", "the lease has ended, and another receive may have the message")
        message.visible_at = self._clock.monotonic() + seconds
        if seconds > 0:
            heapq.heappush(self._delayed, (message.visible_at, next(self._numbers), message))
        elif self._groups is not None:
            self._groups.put_back(message)
        else:
            self._ready.appendleft(message)  # before the rest, as it was received before them
        self._wake()
        return None

    def _next_visible_at(self) -> float:
        """Return when a delay or a lease ends that makes a message visible without any call, or a time before that."""
        return min(self._next_expiry if self._in_flight else inf, self._delayed[0][0] if self._delayed else inf)

    async def _wait_for_change(self, turn: int, until: float) -> None:
        """Wait until a message is stored or released, or until a time of the clock.

        Each `_wake` wakes one receive, the one that began first. So one that was woken and leaves without having looked
        must pass that on, or a message would lie in the queue while another receive waits for it.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_receives[turn] = waiter
        try:
            async with Deadline(self._clock, until):
                await waiter
        except TimeoutError:
            self._waiting_receives.pop(turn, None)
            # Several may wait for the same time. Let those that have waited for longer look first.
            if self._waiting_receives and min(self._waiting_receives) < turn:
                self._wake()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._waiting_receives.pop(turn, None)
            self._wake()  # another receive takes the message, and waits for the next lease to end, in its place
            raise

    def _wake(self) -> None:
        """Wake the receive that has waited for longest. It claims when it runs, and may find the message taken."""
        while self._waiting_receives:
            waiter = self._waiting_receives.pop(min(self._waiting_receives))
            if not waiter.done():
                waiter.set_result(None)
                return
