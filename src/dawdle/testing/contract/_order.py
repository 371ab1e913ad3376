"""The checks of an ordered queue: groups that keep their order whatever happens, and deduplication."""

import asyncio
from collections.abc import Sequence

import pytest

from dawdle.abc import Aged, Backend, Delivery, Outgoing, ReleaseEntry
from dawdle.testing.contract._setup import ContractSetup

__all__ = ["OrderContract"]


@pytest.mark.anyio
class OrderContract(ContractSetup):
    """While one message of a group is in flight or released for later, no receive brings another one of it."""

    async def send_groups(self, backend: Backend, *names: str) -> None:
        """Send messages, one after another. The first letter of a name is its group. Skips a queue without order."""
        if not backend.limits.ordered:
            pytest.skip("the queue keeps no order")
        for name in names:
            assert await backend.send([Outgoing(name.encode(), group=name[0], dedup=name)]) == [None]

    async def receive_groups(self, backend: Backend, count: int) -> dict[str, Delivery]:
        """Receive so many messages and return them by name, in the order in which they came."""
        return {delivery.body.decode(): delivery for delivery in await self.receive_all(backend, count)}

    async def test_while_one_of_a_group_is_in_flight_only_other_groups_are_received(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1")
            first = await self.receive_groups(backend, 1)
            await self.send_groups(backend, "a2", "b1")
            assert list(await self.receive_groups(backend, 1)) == ["b1"]
            await self.nothing_to_receive(backend)
            await backend.ack([first["a1"].receipt])
            assert list(await self.receive_groups(backend, 1)) == ["a2"]

    async def test_an_ack_wakes_a_receive_that_waits_for_the_group(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1", "a2")
            if backend.limits.max_wait <= 0:
                pytest.skip("no receive of this queue waits")
            (first,) = await backend.receive(1, 0)
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            await backend.ack([first.receipt])
            async with asyncio.timeout(self.patience):
                assert [delivery.body for delivery in await waiting] == [b"a2"]

    async def test_what_stands_behind_a_message_in_flight_does_not_wait(self) -> None:
        async with self.queue() as backend:
            if not isinstance(backend, Aged):
                pytest.skip("the backend is not Aged")
            await self.send_groups(backend, "a1")
            first = await self.receive_groups(backend, 1)
            await self.send_groups(backend, "a2")
            await self.passes(2)
            assert await backend.oldest() is None, "no receive brings it"
            await backend.ack([first["a1"].receipt])
            waited = await backend.oldest()
            assert waited is not None
            assert 0 <= waited < 2, "it could be received since the ack"

    async def test_a_receive_of_several_brings_them_in_the_order_of_their_group(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1", "b1", "a2", "b2", "a3", "b3")
            found: list[str] = []
            while len(found) < 6:
                some = await self.receive_groups(backend, 1)
                some |= {each.body.decode(): each for each in await backend.receive(backend.limits.max_batch, 0)}
                found += some
                await backend.ack([delivery.receipt for delivery in some.values()])
            assert [name for name in found if name[0] == "a"] == ["a1", "a2", "a3"]
            assert [name for name in found if name[0] == "b"] == ["b1", "b2", "b3"]

    async def test_a_message_released_for_later_holds_its_group_and_no_other(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1", "a2", "b1")
            if not backend.limits.can_release_later:
                pytest.skip("the queue cannot release a message for later")
            found = await self.batch_with(backend, "a1")
            await backend.release([ReleaseEntry(found["a1"].receipt, 3)])
            await self.release_all(backend, [each for name, each in found.items() if name != "a1"])
            assert list(await self.receive_groups(backend, 1)) == ["b1"]
            await self.nothing_to_receive(backend)
            await self.passes(3 + self.slack)
            assert list(await self.receive_groups(backend, 1)) == ["a1"]

    @pytest.mark.parametrize("order", ["123", "321", "213"])
    async def test_messages_released_in_any_order_come_back_in_theirs(self, order: str) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1", "a2", "a3")
            found = await self.batch_with(backend, "a1")
            if len(found) < 3:
                pytest.skip("a receive of this queue brings one message of a group")
            for number in order[:-1]:
                await self.release_all(backend, [found[f"a{number}"]])
                # At most the first: those behind one that is still in flight must not come.
                for early in await backend.receive(1, 0):
                    assert early.body == b"a1"
                    await self.release_all(backend, [early])
            await self.release_all(backend, [found[f"a{order[-1]}"]])
            again: list[bytes] = []
            while len(again) < 3:
                for delivery in await self.receive_all(backend, 1):
                    again.append(delivery.body)
                    await backend.ack([delivery.receipt])
            assert again == [b"a1", b"a2", b"a3"]

    async def test_a_lease_that_ends_brings_its_message_before_the_rest_of_its_group(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await self.send_groups(backend, "a1", "a2")
            await self.receive_groups(backend, 1)
            await self.passes(lease + self.slack)
            assert list(await self.receive_groups(backend, 1)) == ["a1"]
            await self.nothing_to_receive(backend)

    async def test_a_message_without_a_group_is_in_order_with_nothing(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend)
            await self.send_all(backend, [b"one", b"two"])
            (one,) = await self.receive_all(backend, 1)
            (two,) = await self.receive_all(backend, 1)
            assert sorted([one.body, two.body]) == [b"one", b"two"]

    async def test_two_messages_of_one_dedup_are_stored_once(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend, "a1", "a1", "a2")
            found = await self.receive_groups(backend, 1)
            await backend.ack([found["a1"].receipt])
            await self.send_groups(backend, "a1")  # it is known for a while after it was deleted, too
            found = await self.receive_groups(backend, 1)
            assert list(found) == ["a2"]
            await backend.ack([found["a2"].receipt])
            await self.nothing_to_receive(backend)

    async def test_an_ordered_queue_delays_by_a_second_queue_that_keeps_the_group(self) -> None:
        async with self.queue() as backend:
            await self.send_groups(backend)
            if backend.limits.max_delay > 0 or backend.delayed is None:
                pytest.skip("the queue delays its own messages, or none")
            assert await backend.delayed.send([Outgoing(b"later", delay=2, group="a", dedup="later")]) == [None]
            await self.passes(2 + self.slack)
            (delivery,) = await self.receive_all(backend.delayed, 1)
            assert (delivery.body, delivery.group) == (b"later", "a")
            assert await backend.delayed.ack([delivery.receipt]) == [None]
            await self.nothing_to_receive(backend)

    async def batch_with(self, backend: Backend, name: str) -> dict[str, Delivery]:
        """Receive once, for as many as a receive brings; skips the other groups' messages that came before `name`."""
        async with asyncio.timeout(self.patience):
            while True:
                found = {each.body.decode(): each for each in await backend.receive(backend.limits.max_batch, 0)}
                if name in found:
                    return found
                await self.release_all(backend, list(found.values()))

    async def release_all(self, backend: Backend, deliveries: Sequence[Delivery]) -> None:
        """Release messages for at once."""
        for delivery in deliveries:
            assert await backend.release([ReleaseEntry(delivery.receipt, 0)]) == [None]
