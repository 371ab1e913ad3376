"""The checks of messages in flight: acks, leases that end, renewals, releases."""

import pytest

from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.testing.contract._setup import ContractSetup

__all__ = ["LeaseContract"]


@pytest.mark.anyio
class LeaseContract(ContractSetup):
    """A message in flight is hidden until it is acked or released, or until its lease ends."""

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
            self.assert_no_fault(backend, await backend.ack([delivery.receipt]))

    async def test_an_unacked_message_comes_back_when_its_lease_ends_with_its_key_and_a_new_receipt(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (first,) = await self.receive_all(backend, 1)
            await self.passes(lease + self.slack)
            (second,) = await self.receive_all(backend, 1)
            assert (second.key, second.body, second.receive_count) == (first.key, b"one", 2)
            assert second.receipt != first.receipt

    async def test_an_old_receipt_deletes_nothing_once_another_receive_has_the_message(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (first,) = await self.receive_all(backend, 1)
            await self.passes(lease + self.slack)
            await self.receive_all(backend, 1)
            # What counts is that the message is still there for the later receive.
            self.assert_no_fault(backend, await backend.ack([first.receipt]))
            await self.passes(lease + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1

    async def test_a_renewed_message_stays_hidden_for_a_full_lease_from_then(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            # Four times 0.6 leases in all: without one of the renewals it would be visible by now.
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
                pytest.skip("the queue cannot release a message for later")
            await backend.send([Outgoing(b"one")])
            (delivery,) = await self.receive_all(backend, 1)
            assert await backend.release([ReleaseEntry(delivery.receipt, 3)]) == [None]
            await self.passes(2)
            await self.nothing_to_receive(backend)
            await self.passes(1 + self.slack)
            assert len(await self.receive_all(backend, 1)) == 1
