"""Keeps what is in hand hidden from other receives: renews leases from the receive until the settle."""

import asyncio
import logging
from collections.abc import Sequence

from dawdle._flow.hands import Hand
from dawdle._flow.queue import Queue
from dawdle._flow.watch import Watch
from dawdle._rules.leases import Leases
from dawdle.abc import Clock, Renew
from dawdle.hooks import LeaseLost

__all__ = ["Keeper"]

_log = logging.getLogger(__name__)


class Keeper:
    """The leases of one queue. It wakes once per third of a lease, so a fast handler costs it an entry in a dict."""

    def __init__(self, queue: Queue, clock: Clock, watch: Watch) -> None:
        self._queue = queue
        self._clock = clock
        self._watch = watch
        self._leases = Leases(queue.limits.lease or 0.0, queue.limits.max_hold)
        self._hands: dict[str, Hand] = {}
        self._held = asyncio.Event()
        self._renewing: dict[str, asyncio.Future[None]] = {}

    def hold(self, hand: Hand) -> None:
        """Keep a message from now on."""
        if hand.delivery is not None:
            key = hand.delivery.key
            self._hands[key] = hand
            self._leases.hold(key, self._clock.monotonic())
            self._held.set()

    def drop(self, hand: Hand) -> None:
        """Keep a message no longer."""
        if hand.delivery is not None:
            self._hands.pop(hand.delivery.key, None)
            self._leases.drop(hand.delivery.key)

    async def rest(self, hand: Hand) -> None:
        """Return when no renewal of a message that was dropped is on its way any more."""
        under_way = None if hand.delivery is None else self._renewing.get(hand.delivery.key)
        if under_way is not None:
            await asyncio.wait([under_way])

    async def run(self) -> None:
        """Renew until cancelled. What renews is made when the first renewal is due: most apps never need one."""
        keys = await self._due()
        while True:
            try:
                async with self._queue.backend.renewer() as renew:
                    while True:
                        await self._renew_all(renew, keys)
                        keys = await self._due()
            except Exception as error:  # noqa: BLE001 - it must not end the app, and is tried again in time
                _log.warning("what renews the leases of %s could not be made: %s", self._queue.name, error)
                self._fail([self._hands[key] for key in keys if key in self._hands])
                keys = await self._due()

    async def _due(self) -> list[str]:
        """Return the next messages to renew, once they are due."""
        while True:
            due = self._leases.next_due()
            if due is None:
                self._held.clear()
                await self._held.wait()
                continue
            await self._clock.sleep_until(due)
            keys = self._leases.due(self._clock.monotonic())
            if keys:
                return keys

    async def _renew_all(self, renew: Renew, keys: Sequence[str]) -> None:
        size = self._queue.limits.max_batch
        for first in range(0, len(keys), size):
            await self._renew(renew, keys[first : first + size])

    async def _renew(self, renew: Renew, keys: Sequence[str]) -> None:
        hands = [self._hands[key] for key in keys if key in self._hands]
        if not hands:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._renewing[key] = done
        try:
            faults = await renew([hand.receipt for hand in hands])
        except Exception as error:  # noqa: BLE001 - the next renewal is due before the lease ends
            _log.warning("%d leases of %s were not renewed; tried again: %s", len(hands), self._queue.name, error)
            self._fail(hands)
            return
        finally:
            for key in keys:
                del self._renewing[key]
            done.set_result(None)
        refused = [(hand, fault) for hand, fault in zip(hands, faults, strict=True) if fault and self._is_kept(hand)]
        for hand, fault in refused:
            if fault.kind == "lost":
                self._lose(hand)
            else:
                self._fail([hand])

    def _fail(self, hands: Sequence[Hand]) -> None:
        for hand in hands:
            if hand.delivery is not None:
                self._leases.failed(hand.delivery.key, self._clock.monotonic())

    def _is_kept(self, hand: Hand) -> bool:
        return hand.delivery is not None and self._hands.get(hand.delivery.key) is hand

    def _lose(self, hand: Hand) -> None:
        assert hand.delivery is not None, "only messages have leases"
        self._hands.pop(hand.delivery.key)
        self._leases.drop(hand.delivery.key)
        held = self._clock.monotonic() - hand.since
        _log.warning(
            "a message of %s is not ours any more after %.3g s in hand; its handlers are cancelled, and it runs again "
            "where it is now: a longer lease helps if renewals came too late",
            self._queue.name,
            held,
        )
        if self._watch:
            self._watch(LeaseLost(self._queue.name, held))
        hand.lose()
