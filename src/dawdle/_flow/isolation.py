"""Lets one message run with nothing else in flight: one that may end the process must not take others with it.

Nor may it wait in flight until that is so: were the process to end meanwhile, by whatever cause, the message would be
suspected of it. So it is put off at once, and for a while messages are received one by one, each when the one before it
is settled. When it comes again, it is alone.

Anyone who can write into the queue can write that a message is to run alone. So suspicion has an allowance: once it is
used up, other messages go first, and in the long run suspicion takes a fifth of a worker's time at the most.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from typing import Final

from dawdle._flow.in_flight import InFlight
from dawdle._log import Log
from dawdle.abc import Clock, Deadline

__all__ = ["Isolation"]

_log = Log(__name__)

SINGLE_FILE_SECONDS: Final = 30.0
"""Seconds for which messages are received one by one."""

SINGLE_FILE_COOLDOWN_SECONDS: Final = 120.0
"""Seconds until that is tried again, if what is in flight took longer: suspicion must not stop the work."""

MAX_ISOLATION_SECONDS: Final = 30.0
"""For so long no receive begins beside a message that runs alone. Then others come in: what ends its process later than
that ends it with others in flight, which costs each of them one receive of five."""

ALLOWANCE_SECONDS: Final = 60.0
"""For so long messages may run alone, the wait for that included, with no other going first."""

ALLOWANCE_SHARE: Final = SINGLE_FILE_SECONDS / (SINGLE_FILE_SECONDS + SINGLE_FILE_COOLDOWN_SECONDS)
"""Of each second that passes, so much comes back to the allowance."""


class Isolation:
    """Who is alone, or wants to be, and the receives that make way."""

    def __init__(self, in_flight: InFlight, clock: Clock) -> None:
        self._in_flight = in_flight
        self._clock = clock
        self._open_receives = 0
        self._nothing_isolated = asyncio.Event()
        self._nothing_isolated.set()
        self._one_receive = asyncio.Lock()
        self._single_file_until = -inf
        self._cooldown_until = -inf
        self._isolated_until = -inf
        self._single_file_since = -inf
        self._allowance = Allowance(clock)

    @property
    def is_wanted(self) -> bool:
        """Whether somebody wants to be alone, and messages are received one by one."""
        return self._clock.monotonic() < self._single_file_until

    async def wait_over(self) -> None:
        """Return once no message is alone, or the one that is has been for long enough."""
        # The next one may have begun before whoever waited has its turn.
        while not self._nothing_isolated.is_set() and self._clock.monotonic() < self._isolated_until:
            try:
                async with Deadline(self._clock, self._isolated_until):
                    await self._nothing_isolated.wait()
            except TimeoutError:
                self._nothing_isolated.set()
                self._in_flight.stop_holding_back()

    @asynccontextmanager
    async def receiving(self) -> AsyncGenerator[None]:
        """Count the block as an open receive, and begin it when that may be: it asks for one message if `wanted`."""
        await self.wait_over()
        if not self.is_wanted:
            with self._counted():
                yield
            return
        async with self._one_receive:
            try:
                async with Deadline(self._clock, self._single_file_until):
                    await self._in_flight.wait_empty()
            except TimeoutError:
                pass
            await self.wait_over()
            with self._counted():
                yield

    @contextmanager
    def isolate(self) -> Generator[bool]:
        """Yield whether the one message that is in flight is alone: no receive is open, and none begins in the block.

        If it is not, receives make way from now on.
        """
        if (
            self._allowance.is_used_up
            or self._open_receives
            or len(self._in_flight) > 1
            or not self._nothing_isolated.is_set()
        ):
            self._want()
            yield False
            return
        began = now = self._clock.monotonic()
        if self.is_wanted:
            began = self._single_file_since
        self._nothing_isolated.clear()
        self._single_file_until = self._cooldown_until = -inf
        self._isolated_until = now + MAX_ISOLATION_SECONDS
        # A direct event waits as a receive does, and there may be no receive that sees to it.
        end_in_time = asyncio.create_task(self.wait_over(), name="dawdle: isolation")
        try:
            with self._in_flight.hold_back_others():
                yield True
        finally:
            self._nothing_isolated.set()
            end_in_time.cancel()
            self._allowance.spend(min(self._clock.monotonic(), self._isolated_until) - began)

    def _want(self) -> None:
        now = self._clock.monotonic()
        if now >= self._cooldown_until and not self._allowance.is_used_up:
            self._single_file_since = now
            self._single_file_until = now + SINGLE_FILE_SECONDS
            self._cooldown_until = self._single_file_until + SINGLE_FILE_COOLDOWN_SECONDS

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._open_receives += 1
        try:
            yield
        finally:
            self._open_receives -= 1


class Allowance:
    """Seconds that suspicion may take: spent as it takes them, and given back as time passes, a fifth of it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = ALLOWANCE_SECONDS
        self._reckoned_at = clock.monotonic()
        self._closed = False

    @property
    def is_used_up(self) -> bool:
        """Whether other messages go first: from when nothing is left until a window's worth is there again."""
        self._reckon()
        if self._closed and self._left >= SINGLE_FILE_SECONDS:
            self._closed = False
        return self._closed

    def spend(self, seconds: float) -> None:
        """Take what was used, which may be more than was left."""
        self._reckon()
        self._left -= seconds
        if self._left <= 0:
            self._closed = True
            _log.warning(
                "suspected poison messages have run in isolation for too long; for the next %.3g s other messages go "
                "first: many killed processes leave many suspects, or a stranger writes dawdletrial (see signing_keys)",
                (SINGLE_FILE_SECONDS - self._left) / ALLOWANCE_SHARE,
            )

    def _reckon(self) -> None:
        now = self._clock.monotonic()
        self._left = min(ALLOWANCE_SECONDS, self._left + (now - self._reckoned_at) * ALLOWANCE_SHARE)
        self._reckoned_at = now
