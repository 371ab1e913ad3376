"""The checks of receives: their limit, receives that wait, share messages, are cancelled."""

import asyncio

import pytest

from dawdle.abc import Backend, Delivery, Outgoing
from dawdle.testing.contract._setup import ContractSetup

__all__ = ["ReceivingContract"]


@pytest.mark.anyio
class ReceivingContract(ContractSetup):
    """A receive waits for messages, and loses none."""

    async def test_a_receive_brings_no_more_than_its_limit(self) -> None:
        async with self.queue() as backend:
            limit = max(1, backend.limits.max_batch // 2)
            await self.send_all(backend, [b"%d" % number for number in range(limit + 1)])
            assert 1 <= len(await backend.receive(limit, self.wait(backend))) <= limit

    async def test_a_receive_that_waits_is_woken_by_a_message(self) -> None:
        async with self.queue() as backend:
            if backend.limits.max_wait <= 0:
                pytest.skip("no receive of this queue waits")
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            await backend.send([Outgoing(b"one")])
            async with asyncio.timeout(self.patience):
                assert [delivery.body for delivery in await waiting] == [b"one"]

    async def test_a_receive_that_waits_is_woken_when_a_lease_ends(self) -> None:
        async with self.queue() as backend:
            lease = self.lease_of(backend)
            if backend.limits.max_wait < lease + self.slack:
                pytest.skip("no receive of this queue waits for as long as a lease")
            await backend.send([Outgoing(b"one")])
            waiting = asyncio.create_task(self.receive_second(backend))
            await self.parked()
            await self.passes(lease + self.slack)
            async with asyncio.timeout(self.patience):
                assert [delivery.receive_count for delivery in await waiting] == [2]

    async def receive_second(self, backend: Backend) -> list[Delivery]:
        """Receive a message, do not ack it, and wait until it is received again."""
        await self.receive_all(backend, 1)
        return await backend.receive(1, backend.limits.max_wait)

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
            # A receive may return nothing while others hold messages, so some may be left for this one.
            rest = await self.receive_all(backend, len(bodies) - len(found))
            assert sorted([*found, *(delivery.body for delivery in rest)]) == sorted(bodies)

    async def receive_until_empty(self, backend: Backend) -> list[bytes]:
        """Receive and ack until a receive returns nothing."""
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
                return  # the receive was over before its cancellation reached it
            if not backend.limits.receive_cancellable:
                await self.passes((backend.limits.lease or 0) + self.slack)
            assert [delivery.body for delivery in await self.receive_all(backend, 1)] == [b"one"]

    async def test_a_cancelled_receive_does_not_swallow_what_comes_after_it(self) -> None:
        async with self.queue() as backend:
            if not backend.limits.receive_cancellable:
                pytest.skip("a receive that is cancelled may hide a message until its lease ends")
            waiting = asyncio.create_task(backend.receive(1, backend.limits.max_wait))
            await self.parked()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            await backend.send([Outgoing(b"one")])
            assert len(await self.receive_all(backend, 1)) == 1
