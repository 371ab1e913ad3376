"""The checks of what a queue stores: bodies, batches, delays, times, groups, dead letters, counts."""

from math import inf

import pytest

from dawdle.abc import Aged, Backend, Browsable, Countable, Counts, Outgoing, ReleaseEntry
from dawdle.testing.contract._setup import ContractSetup

__all__ = ["StoringContract"]


@pytest.mark.anyio
class StoringContract(ContractSetup):
    """A message is received as it was sent, once it is due."""

    async def test_what_is_sent_is_received_with_its_body_to_the_byte(self) -> None:
        async with self.queue() as backend:
            bodies = [b"{}", "ü…\U0001f600".encode(), b"x" * min(10_000, backend.limits.max_body)]
            await self.send_all(backend, bodies)
            deliveries = await self.receive_all(backend, 3)
            assert sorted(delivery.body for delivery in deliveries) == sorted(bodies)
            assert {delivery.receive_count for delivery in deliveries} == {1}

    async def test_every_entry_of_a_batch_has_its_own_answer(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_batch < 2:
                pytest.skip("the queue takes one message per send")
            answers = await backend.send([Outgoing(b"good"), self.beyond(backend)])
            assert answers[0] is None
            assert answers[1] is not None
            assert answers[1].kind == "refused"
            assert [delivery.body for delivery in await self.receive_all(backend, 1)] == [b"good"]
            await self.nothing_to_receive(backend)

    async def test_a_body_of_the_largest_size_is_taken(self) -> None:
        async with self.queue() as backend:
            # A queue without a real limit is not filled with gigabytes.
            body = b"x" * min(backend.limits.max_body, 4 << 20)
            assert await backend.send([Outgoing(body)]) == [None]
            assert (await self.receive_all(backend, 1))[0].body == body

    async def test_a_delayed_message_is_received_when_it_is_due_and_not_before(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_delay < 3:
                pytest.skip("the queue cannot delay messages")
            assert await backend.send([Outgoing(b"one", delay=3)]) == [None]
            await self.passes(2)
            await self.nothing_to_receive(backend)
            await self.passes(1 + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_a_delay_beyond_the_limit_is_refused(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_delay == inf:
                pytest.skip("the queue delays for any length of time")
            (fault,) = await backend.send([Outgoing(b"one", delay=backend.limits.max_delay + 1)])
            assert fault is not None
            assert fault.kind == "refused"

    async def test_times_are_by_the_queues_own_clock(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one")])
            await self.passes(2)
            (delivery,) = await self.receive_all(backend, 1)
            if delivery.stored_at is None or delivery.received_at is None:
                pytest.skip("the queue has no clock of its own")
            assert 2 - self.slack <= delivery.received_at - delivery.stored_at <= 2 + self.slack

    async def test_a_group_travels_with_its_message(self) -> None:
        async with self.queue() as backend:
            await backend.send([Outgoing(b"one", group="customer-1")])
            (delivery,) = await self.receive_all(backend, 1)
            # A queue may have no groups; only one that is ordered needs them.
            assert delivery.group in {"customer-1", None}
            if backend.limits.ordered:
                assert delivery.group == "customer-1"

    async def test_a_group_keeps_its_order(self) -> None:
        async with self.queue() as backend:
            if not backend.limits.ordered:
                pytest.skip("the queue keeps no order")
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
                pytest.skip("the queue has no dead-letter queue")
            dead = backend.dead_letters
            assert await dead.send([Outgoing(b"given up")]) == [None]
            (delivery,) = await self.receive_all(dead, 1)
            assert delivery.body == b"given up"
            assert await dead.ack([delivery.receipt]) == [None]
            await self.nothing_to_receive(backend)

    async def test_a_queue_that_counts_says_what_waits_is_in_flight_and_is_delayed(self) -> None:
        async with self.queue() as backend:
            if not isinstance(backend, Countable):
                pytest.skip("the backend is not Countable")
            assert await backend.count() == Counts(waiting=0, in_flight=0, delayed=0)
            await self.send_all(backend, [b"one", b"two", b"three"])
            (delivery,) = await self.receive_all(backend, 1)
            assert await backend.count() == Counts(waiting=2, in_flight=1, delayed=0)
            if backend.limits.max_delay >= 10:
                await backend.send([Outgoing(b"later", delay=10)])
                assert await backend.count() == Counts(waiting=2, in_flight=1, delayed=1)
            await backend.ack([delivery.receipt])
            assert (await backend.count()).in_flight == 0

    async def test_a_queue_that_can_be_browsed_shows_all_that_it_holds_and_changes_nothing(self) -> None:
        async with self.queue() as backend:
            if not isinstance(backend, Browsable):
                pytest.skip("the backend is not Browsable")
            assert await backend.browse(10) == []
            await self.send_all(backend, [b"0", b"1", b"2", b"3"])
            (first,) = await self.receive_all(backend, 1)
            if backend.limits.max_delay >= 10:
                await backend.send([Outgoing(b"later", delay=10)])
                assert [each.body for each in await backend.browse(1, (await backend.browse(4))[-1].key)] == [b"later"]
            one, *others = await backend.browse(4)
            assert [each.body for each in (one, *others)] == [b"0", b"1", b"2", b"3"]
            assert (one.key, one.group) == (first.key, first.group)
            assert first.stored_at in {one.stored_at, None}, "a queue may tell a receive no time"
            await backend.ack([first.receipt])
            pages = [await backend.browse(2, one.key), await backend.browse(1, others[1].key)]
            assert pages == [others[:2], others[2:]], "those behind a message that is gone"
            deliveries = await self.receive_all(backend, 3)
            assert sorted(delivery.body for delivery in deliveries) == [b"1", b"2", b"3"], "none was hidden"
            assert {delivery.receive_count for delivery in deliveries} == {1}

    async def test_a_queue_that_knows_ages_says_how_long_the_oldest_message_has_waited(self) -> None:
        async with self.queue() as backend:
            if not isinstance(backend, Aged):
                pytest.skip("the backend is not Aged")
            assert await backend.oldest() is None
            if backend.limits.max_delay >= 1000:
                await backend.send([Outgoing(b"later", delay=1000)])
                assert await backend.oldest() is None, "what is delayed does not wait"
            await self.send_all(backend, [b"one"])
            await self.passes(2)
            await self.send_all(backend, [b"two"])
            waited = await backend.oldest()
            assert waited is not None
            assert 2 <= waited < 2 + self.patience
            deliveries = await self.receive_all(backend, 2)
            assert await backend.oldest() is None, "what is in flight does not wait"
            for delivery in deliveries:
                assert await backend.release([ReleaseEntry(delivery.receipt, 0)]) == [None]
            again = await backend.oldest()
            assert again is not None
            assert 0 <= again < 2 + self.patience, "from the release, or from when it was stored"

    async def test_messages_of_two_dedups_are_both_stored_and_of_one_at_least_one(self) -> None:
        async with self.queue() as backend:
            # Deduplication is an offer: a queue may store the second "a" or not, but it must not lose "b".
            group = "one" if backend.limits.ordered else None
            for dedup in ("a", "b", "a"):
                assert await backend.send([Outgoing(dedup.encode(), group=group, dedup=dedup)]) == [None]
            found: list[bytes] = []
            while (deliveries := await backend.receive(1, 0)) and len(found) < 10:
                found += [delivery.body for delivery in deliveries]
                await backend.ack([delivery.receipt for delivery in deliveries])
            assert sorted(found) in ([b"a", b"b"], [b"a", b"a", b"b"])

    def beyond(self, backend: Backend) -> Outgoing:
        """Return a message that the queue refuses; skips the check if no such message fits into a batch."""
        limits = backend.limits
        if limits.max_delay < inf:
            return Outgoing(b"too late", delay=limits.max_delay + 1)
        if limits.max_body + 100 > limits.max_batch_bytes:
            pytest.skip("the queue delays for any time, and a body that is too large does not fit into a batch")
        return Outgoing(b"x" * (limits.max_body + 1))
