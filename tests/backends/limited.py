"""Queues in memory with one ability less, each of which notes what it was asked for beyond its limits.

No model of SQS: each is the queue in memory with one of the limits that a backend may have.
"""

import asyncio
from math import inf

import msgspec

from dawdle.abc import Delivery, Fault
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError

LEASE = 10

LIMITED = {
    "all": {},
    "one message a call": {"max_batch": 1},
    "a batch is no larger than a message": {"max_batch_bytes": 60_000, "max_body": 60_000},
    "small messages": {"max_body": 12_000},
    "no delay": {"max_delay": 0},
    "short delays": {"max_delay": 15},
    "no release for later": {"can_release_later": False},
    "no delay and no release for later, but a second queue": {"max_delay": 0, "can_release_later": False, "second": {}},
    "a second queue that has no release for later": {"max_delay": 0, "second": {"can_release_later": False}},
    "no wait": {"max_wait": 0},
    "short waits": {"max_wait": 5},
    "no receive can be cancelled": {"receive_cancellable": False, "max_wait": 20},
    "no receive can be cancelled, and none comes back": {"receive_cancellable": False},
    "the connection holds messages": {"lease": None},
    "the connection holds messages, and lets go at once only": {"lease": None, "can_release_later": False},
    "a message is held for a while only": {"max_hold": 30},
    "messages are thrown away": {"retention": 60},
    "no clock of its own": {"has_clock": False},
    "no dead-letter queue": {"has_dead_letters": False},
    "no dead-letter queue, and no release for later": {"has_dead_letters": False, "can_release_later": False},
    "durable": {"durable": True},
    "shared": {"shared": True},
    "durable and shared": {"durable": True, "shared": True},
    "stores once": {"stores_once": True},
}
"""What each is without, by its name in a test's id."""


class Limited(Memory):
    """A queue in memory that keeps to narrower limits, and notes in `overstepped` what went beyond them."""

    def __init__(self, *, clock, second=None, has_clock=True, has_dead_letters=True, stores_once=False, **limits):
        super().__init__(clock=clock, lease=LEASE, dead_letters=False)
        self.limits = msgspec.structs.replace(self.limits, **limits)
        self.overstepped = []
        self.away = False
        """Every send fails while this is so."""
        self.sent = []
        self._has_clock = has_clock
        self._sent_by_dedup = {} if stores_once else None
        self._received_at = {}
        self._second = None if second is None else Limited(clock=clock, has_dead_letters=False, **second)
        if has_dead_letters:
            self._dead = Limited(
                clock=clock, has_clock=has_clock, has_dead_letters=False, stores_once=stores_once, **limits
            )

    @property
    def delayed(self):
        return self._second

    @property
    def all_queues(self):
        return [each for each in (self, self._second, self._dead) if each is not None]

    async def __aexit__(self, *error):
        for queue in self.all_queues:
            if queue.limits.lease is None:  # what the connection held, others may have now
                queue._ready.extend(queue._in_flight.values())
                queue._in_flight.clear()
        await super().__aexit__(*error)

    async def send(self, batch):
        if self.away:
            raise BackendError("the queue is away")
        self._check("messages in a send", len(batch), self.limits.max_batch)
        self._check("bytes in a send", sum(len(each.body) for each in batch), self.limits.max_batch_bytes)
        return [await self._store_once(each) for each in batch]

    async def receive(self, limit, wait):
        self._check("messages in a receive", limit, self.limits.max_batch)
        self._check("seconds of a receive", wait, self.limits.max_wait)
        self._expire_messages()
        try:
            return [self._deliver_as_limited(each) for each in await super().receive(limit, wait)]
        except asyncio.CancelledError:
            if not self.limits.receive_cancellable:
                self._hide_next_message()
            raise

    async def ack(self, receipts):
        self._check("messages in an ack", len(receipts), self.limits.max_batch)
        return await super().ack(receipts)

    async def renew(self, receipts):
        self._check("messages in a renew", len(receipts), self.limits.max_batch)
        if self.limits.lease is None:
            self.overstepped.append("a renew where the connection holds messages")
        return [self._renew_within_hold(each) for each in receipts]

    async def release(self, batch):
        self._check("messages in a release", len(batch), self.limits.max_batch)
        if not self.limits.can_release_later:
            self._check("seconds of a release", max(delay for _, delay in batch), 0)
        return await super().release(batch)

    def _check(self, what, asked, most):
        if asked > most:
            self.overstepped.append(f"{what}: {asked}, and {most} is the most")

    async def _store_once(self, outgoing):
        self.sent.append(outgoing)
        if not 0 <= outgoing.delay <= self.limits.max_delay:
            self.overstepped.append(f"a delay of {outgoing.delay} s")
        if self._sent_by_dedup is not None and outgoing.dedup is not None:
            if outgoing.dedup in self._sent_by_dedup:
                return None
            self._sent_by_dedup[outgoing.dedup] = outgoing.body
        return (await Memory.send(self, [outgoing]))[0]

    def _deliver_as_limited(self, delivery):
        assert isinstance(delivery, Delivery)
        self._received_at[delivery.receipt] = self._clock.monotonic()
        if self._has_clock:
            return delivery
        return msgspec.structs.replace(delivery, stored_at=None, received_at=None)

    def _renew_within_hold(self, receipt):
        held = self._clock.monotonic() - self._received_at.get(receipt, inf)
        if held > self.limits.max_hold:
            return Fault("refused", f"held for {held:g} s, and {self.limits.max_hold:g} is the most")
        return self._renew(receipt)

    def _expire_messages(self):
        """Forget what was stored for longer than the retention, as a queue does, in hand or not."""
        before = self._clock.now() - self.limits.retention
        self._ready = type(self._ready)(each for each in self._ready if each.stored_at >= before)
        self._delayed = [each for each in self._delayed if each[2].stored_at >= before]
        self._in_flight = {receipt: each for receipt, each in self._in_flight.items() if each.stored_at >= before}

    def _hide_next_message(self):
        """Hide the next message for a lease, as an open poll does that nobody waits for any more."""
        task = asyncio.ensure_future(Memory.receive(self, 1, 0))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
