"""The suite that every backend passes, with its limits as its features. Needs pytest; anyio runs it.

Write a class in your tests and say how a queue is made::

    class TestMyQueue(BackendContract):
        @asynccontextmanager
        async def opened(self):
            async with MyQueue("amqp://…") as backend:
                yield backend

A check that needs what `limits` says the queue cannot do is skipped, and says so.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from math import inf

import pytest

from dawdle.abc import Backend, Countable, Counts, Delivery, Outgoing, ReleaseEntry

__all__ = ["BackendContract"]


@pytest.mark.anyio
class BackendContract:
    """Override `opened`, and `passes` and `lease` where time is yours to move."""

    patience: float = 5.0
    """Seconds that a check waits for a message that must come."""

    slack: float = 1.0
    """Seconds that a queue may be late."""

    def opened(self) -> AbstractAsyncContextManager[Backend]:
        """Return a context manager that yields an open backend on an empty queue of its own."""
        raise NotImplementedError

    async def passes(self, seconds: float) -> None:
        """Let `seconds` pass by the queue's clock."""
        await asyncio.sleep(seconds)

    async def parked(self) -> None:
        """Return once a receive that was just started waits at the queue."""
        await asyncio.sleep(0.1)

    @asynccontextmanager
    async def queue(self) -> AsyncGenerator[Backend]:
        """Yield an open, empty queue that is about to be received from."""
        async with self.opened() as backend:
            await backend.prepare_receive()
            yield backend

    async def receive_all(self, backend: Backend, count: int) -> list[Delivery]:
        """Receive until `count` messages are here; fails when they do not come in time."""
        found: list[Delivery] = []
        async with asyncio.timeout(self.patience):
            while len(found) < count:
                limit = min(backend.limits.max_batch, count - len(found))
                found += await backend.receive(limit, 0)
        return found

    async def nothing_to_receive(self, backend: Backend) -> None:
        """Fail if there is a message to receive now."""
        assert await backend.receive(1, 0) == []

    async def test_what_is_sent_is_received_with_its_body_to_the_byte(self) -> None:
        bodies = [b"{}", "ü…\U0001f600".encode(), b"x" * 10_000]
        async with self.queue() as backend:
            await self.send_all(backend, bodies)
            deliveries = await self.receive_all(backend, 3)
            assert sorted(delivery.body for delivery in deliveries) == sorted(bodies)
            assert {delivery.receive_count for delivery in deliveries} == {1}

    async def test_every_entry_of_a_batch_has_its_own_answer(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_batch < 2:
                pytest.skip("takes one message a call")
            answers = await backend.send([Outgoing(b"good"), self.beyond(backend)])
            assert answers[0] is None
            assert answers[1] is not None
            assert answers[1].kind == "refused"
            assert [delivery.body for delivery in await self.receive_all(backend, 1)] == [b"good"]
            await self.nothing_to_receive(backend)

    async def test_a_body_of_the_largest_size_is_taken(self) -> None:
        async with self.queue() as backend:
            body = b"x" * min(backend.limits.max_body, 4 << 20)
            assert await backend.send([Outgoing(body)]) == [None]
            assert (await self.receive_all(backend, 1))[0].body == body

    async def test_a_receive_brings_no_more_than_its_limit(self) -> None:
        async with self.queue() as backend:
            limit = max(1, backend.limits.max_batch // 2)
            await self.send_all(backend, [b"%d" % number for number in range(limit + 1)])
            assert 1 <= len(await backend.receive(limit, self.wait(backend))) <= limit

    async def test_a_message_in_hand_is_hidden_from_other_receives(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            await self.receive_all(backend, 1)
            await self.nothing_to_receive(backend)

    async def test_an_acked_message_does_not_come_back(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            assert await backend.ack([delivery.receipt]) == [None]
            await self.passes((backend.limits.lease or 0) + self.slack)
            await self.nothing_to_receive(backend)

    async def test_a_second_ack_is_no_fault(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            await backend.ack([delivery.receipt])
            assert await backend.ack([delivery.receipt]) == [None]

    async def test_an_unacked_message_comes_back_when_its_lease_ends_with_its_key_and_a_new_receipt(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (first,) = await self.receive_all(backend, 1)
            await self.passes(lease + self.slack)
            (second,) = await self.receive_all(backend, 1)
            assert (second.key, second.body, second.receive_count) == (first.key, b"one", 2)
            assert second.receipt != first.receipt

    async def test_a_receive_that_waits_is_woken_when_a_lease_ends(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            if backend.limits.max_wait < lease + self.slack:
                pytest.skip("no receive waits for as long as a lease")
            await backend.send([Outgoing(b"one")])
            waiting = asyncio.create_task(self.receive_second(backend))
            await self.parked()
            await self.passes(lease + self.slack)
            async with asyncio.timeout(self.patience):
                assert [delivery.receive_count for delivery in await waiting] == [2]

    async def receive_second(self, backend: Backend) -> list[Delivery]:
        """Receive a message, keep it, and wait for it to come again."""
        await self.receive_all(backend, 1)
        return await backend.receive(1, backend.limits.max_wait)

    async def test_an_old_receipt_deletes_nothing_once_another_receive_has_the_message(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (first,) = await self.receive_all(backend, 1)
            await self.passes(lease + self.slack)
            await self.receive_all(backend, 1)
            assert await backend.ack([first.receipt]) == [None]
            await self.passes(lease + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_a_renewed_message_stays_hidden_for_a_full_lease_from_then(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            for _ in range(3):
                await self.passes(lease * 0.6)
                assert await backend.renew([delivery.receipt]) == [None]
            await self.passes(lease * 0.6)
            await self.nothing_to_receive(backend)

    async def test_a_renewer_renews_as_well(self) -> None:
        async with self.queue() as backend, backend.renewer() as renew:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            await self.passes(lease * 0.6)
            assert await renew([delivery.receipt]) == [None]
            await self.passes(lease * 0.6)
            await self.nothing_to_receive(backend)

    async def test_a_renewal_of_what_is_no_longer_ours_says_lost(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await self.send_all(backend, [b"gone", b"late"])
            gone, late = await self.receive_all(backend, 2)
            await backend.ack([gone.receipt])
            await self.passes(lease + self.slack)
            for delivery in (gone, late):
                (fault,) = await backend.renew([delivery.receipt])
                assert fault is not None
                assert fault.kind == "lost"

    async def test_a_released_message_is_there_at_once(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            (first,) = await self.receive_all(backend, 1)
            assert await backend.release([ReleaseEntry(first.receipt, 0)]) == [None]
            (second,) = await self.receive_all(backend, 1)
            assert (second.key, second.receive_count) == (first.key, 2)

    async def test_a_message_released_for_later_is_hidden_until_then(self) -> None:
        async with self.queue() as backend:
            if not backend.limits.can_release_later:
                pytest.skip("cannot release for later")
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            assert await backend.release([ReleaseEntry(delivery.receipt, 3)]) == [None]
            await self.passes(2)
            await self.nothing_to_receive(backend)
            await self.passes(1 + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_a_delayed_message_is_received_when_it_is_due_and_not_before(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_delay < 3:
                pytest.skip("cannot delay")
            assert await backend.send([Outgoing(b"one", delay=3)]) == [None]
            await self.passes(2)
            await self.nothing_to_receive(backend)
            await self.passes(1 + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_a_delay_beyond_the_limit_is_refused(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_delay == inf:
                pytest.skip("delays of any length")
            (fault,) = await backend.send([Outgoing(b"one", delay=backend.limits.max_delay + 1)])
            assert fault is not None
            assert fault.kind == "refused"

    async def test_a_receive_that_waits_is_woken_by_a_message(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_wait <= 0:
                pytest.skip("no receive waits")
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            await backend.send([Outgoing(b"one")])
            async with asyncio.timeout(self.patience):
                assert [delivery.body for delivery in await waiting] == [b"one"]

    async def test_a_receive_that_waits_in_vain_comes_back_empty(self) -> None:
        async with self.queue() as backend:
            wait = min(1.0, backend.limits.max_wait)
            waiting = asyncio.create_task(backend.receive(1, wait))
            await self.parked()
            await self.passes(wait + self.slack)
            async with asyncio.timeout(self.patience):
                assert await waiting == []

    async def test_several_receives_share_the_messages(self) -> None:
        async with self.queue() as backend:
            bodies = [b"%d" % number for number in range(30)]
            waiting = [asyncio.create_task(self.receive_until_empty(backend)) for _ in range(3)]
            await self.send_all(backend, bodies)
            async with asyncio.timeout(self.patience):
                found = [body for received in await asyncio.gather(*waiting) for body in received]
            rest = await self.receive_all(backend, len(bodies) - len(found))
            assert sorted([*found, *(delivery.body for delivery in rest)]) == sorted(bodies)

    async def receive_until_empty(self, backend: Backend) -> list[bytes]:
        """Receive and ack until a receive comes back empty."""
        found: list[bytes] = []
        while deliveries := await backend.receive(backend.limits.max_batch, 0):
            await backend.ack([delivery.receipt for delivery in deliveries])
            found += [delivery.body for delivery in deliveries]
            await asyncio.sleep(0)
        return found

    async def test_a_cancelled_receive_loses_nothing(self) -> None:
        async with self.queue() as backend:
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            await backend.send([Outgoing(b"one")])
            waiting.cancel()
            kept = (await asyncio.gather(waiting, return_exceptions=True))[0]
            if isinstance(kept, list):
                return  # it came first
            if not backend.limits.receive_cancellable:
                await self.passes((backend.limits.lease or 0) + self.slack)
            assert [delivery.body for delivery in await self.receive_all(backend, 1)] == [b"one"]

    async def test_a_cancelled_receive_does_not_swallow_what_comes_after_it(self) -> None:
        async with self.queue() as backend:
            if not backend.limits.receive_cancellable:
                pytest.skip("an abandoned receive may swallow a message until its lease ends")
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await backend.send([Outgoing(b"one")])
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_times_are_by_the_queues_own_clock(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            await self.passes(2)
            (delivery,) = await self.receive_all(backend, 1)
            if delivery.stored_at is None or delivery.received_at is None:
                pytest.skip("has no clock of its own")
            assert 2 - self.slack <= delivery.received_at - delivery.stored_at <= 2 + self.slack

    async def test_a_group_travels_with_its_message(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one", group="customer-1")])
            (delivery,) = await self.receive_all(backend, 1)
            assert delivery.group in {"customer-1", None}
            if backend.limits.ordered:
                assert delivery.group == "customer-1"

    async def test_a_group_keeps_its_order(self) -> None:
        async with self.queue() as backend:
            if not backend.limits.ordered:
                pytest.skip("keeps no order")
            for number in range(5):
                await backend.send([Outgoing(b"%d" % number, group="one", dedup=f"{number}")])
            found: list[bytes] = []
            while len(found) < 5:
                for delivery in await self.receive_all(backend, 1):
                    found.append(delivery.body)
                    await backend.ack([delivery.receipt])
            assert found == [b"0", b"1", b"2", b"3", b"4"]

    async def test_dead_letters_are_a_queue_like_any_other(self) -> None:
        async with self.queue() as backend:
            if backend.dead_letters is None:
                pytest.skip("has no dead-letter queue")
            dead = backend.dead_letters
            assert await dead.send([Outgoing(b"given up")]) == [None]
            (delivery,) = await self.receive_all(dead, 1)
            assert delivery.body == b"given up"
            assert await dead.ack([delivery.receipt]) == [None]
            await self.nothing_to_receive(backend)

    async def test_a_queue_that_counts_says_what_waits_is_in_flight_and_is_delayed(self) -> None:
        async with self.queue() as backend:
            if not isinstance(backend, Countable):
                pytest.skip("does not count")
            assert await backend.count() == Counts(waiting=0, in_flight=0, delayed=0)
            await self.send_all(backend, [b"one", b"two", b"three"])
            (delivery,) = await self.receive_all(backend, 1)
            assert await backend.count() == Counts(waiting=2, in_flight=1, delayed=0)
            if backend.limits.max_delay >= 10:
                await backend.send([Outgoing(b"later", delay=10)])
                assert await backend.count() == Counts(waiting=2, in_flight=1, delayed=1)
            await backend.ack([delivery.receipt])
            assert (await backend.count()).in_flight == 0

    async def test_messages_of_two_dedups_are_both_stored_and_of_one_at_least_one(self) -> None:
        async with self.queue() as backend:
            group = "one" if backend.limits.ordered else None
            for dedup in ("a", "b", "a"):
                assert await backend.send([Outgoing(dedup.encode(), group=group, dedup=dedup)]) == [None]
            found: list[bytes] = []
            while (deliveries := await backend.receive(1, 0)) and len(found) < 10:
                found += [delivery.body for delivery in deliveries]
                await backend.ack([delivery.receipt for delivery in deliveries])
            assert sorted(found) in ([b"a", b"b"], [b"a", b"a", b"b"])

    async def send_all(self, backend: Backend, bodies: Sequence[bytes]) -> None:
        """Store messages, in as many calls as it takes."""
        size = backend.limits.max_batch
        for first in range(0, len(bodies), size):
            answers = await backend.send([Outgoing(body) for body in bodies[first : first + size]])
            assert not any(answers)

    def beyond(self, backend: Backend) -> Outgoing:
        """Return a message that the queue refuses; skips the check where none fits into a send with another."""
        limits = backend.limits
        if limits.max_delay < inf:
            return Outgoing(b"too late", delay=limits.max_delay + 1)
        if limits.max_body + 100 > limits.max_batch_bytes:
            pytest.skip("delays of any length, and no room for a body that is too large beside another")
        return Outgoing(b"x" * (limits.max_body + 1))

    def lease_of(self, backend: Backend) -> float:
        """Return the lease; skips the check where the connection holds messages."""
        if backend.limits.lease is None:
            pytest.skip("its leases end with the connection")
        return backend.limits.lease

    def wait(self, backend: Backend) -> float:
        """Return how long a receive may wait for a message that is there."""
        return min(1.0, backend.limits.max_wait)
