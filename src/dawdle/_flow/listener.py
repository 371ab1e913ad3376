"""Listening: which receivers run, and the order in which they, the work and the wait for it end."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence

from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.hands import Hands
from dawdle._flow.receiver import Receiver
from dawdle.abc import Clock

__all__ = ["Listener"]

FLUSH = 3.0
"""Seconds for what is left to do when the grace is over: settle what was cut off, answer who waits."""


class Listener:
    """Starts and stops receiving, in any order and as often as one likes."""

    def __init__(
        self,
        receivers: Sequence[Receiver],
        *,
        hands: Hands,
        limits: HandlerLimits,
        clock: Clock,
        listen: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        hurry: asyncio.Event,
    ) -> None:
        self._receivers = receivers
        self._hands = hands
        self._limits = limits
        self._clock = clock
        self._listen = listen
        self._wanted = asyncio.Event()
        self._polls: asyncio.Task[None] | None = None
        self._ending = False
        self._stops = 0
        self._closed = False
        self._hurry = hurry

    @property
    def listening(self) -> bool:
        """Whether receives are made, or will be as soon as there is a handler."""
        return self._polls is not None and not self._polls.done()

    @property
    def receiving(self) -> bool:
        """Whether receives are made now."""
        return self.listening and self._wanted.is_set() and not self._ending

    def want(self) -> None:
        """There is a handler: from now on it makes sense to receive."""
        self._wanted.set()

    async def start(self) -> None:
        """Begin to receive; a stop that is under way comes to its end first, and one that comes meanwhile wins."""
        stops = self._stops
        while self._polls is not None and not self._polls.done() and self._ending:
            await asyncio.wait([self._polls])
        if not self.listening and stops == self._stops and not self._closed:
            self._ending = False
            for receiver in self._receivers:
                receiver.allow()
            self._polls = self._listen(self._run())

    def begin_stop(self) -> None:
        """Receive no more, give back the messages that wait to be run, and do not wait for what runs."""
        self._ending = True
        self._stops += 1
        for receiver in self._receivers:
            receiver.stop()
        self._hands.give_back_waiting()
        self._limits.give_back()
        if self._polls is not None and not self._wanted.is_set():
            self._polls.cancel()

    async def stop(self, grace: float) -> None:
        """Receive no more, and return when nothing is in flight, `grace` seconds and a flush from now at the latest.

        A start that comes meanwhile wins: then nothing is cut off.
        """
        self.begin_stop()
        polls = self._polls
        if not await self._quiet(polls, grace, hurry=True) and self._polls is polls:
            await self._cut_off(polls)

    async def _cut_off(self, polls: asyncio.Task[None] | None) -> None:
        """End the handlers and receives that still run, and wait for what is left of them to be settled: the flush."""
        for receiver in self._receivers:
            receiver.tell_abandoned()
        if polls is not None:
            polls.cancel()  # what an open poll would have brought is visible when its lease ends
        self._hands.interrupt()
        await self._quiet(polls, FLUSH, hurry=False)

    async def close(self, grace: float) -> None:
        """Stop for good: from now on a start does nothing. When the grace is over, direct events are stored instead."""
        self._closed = True
        self.begin_stop()
        await self._quiet(self._polls, grace, hurry=True)
        self._hands.close()
        if len(self._hands) or self.listening:
            await self._cut_off(self._polls)

    async def idle(self) -> None:
        """Return when nothing that is due is left: nothing in flight, and a receive that came back empty after that.

        A handler that waits here is not waited for, nor is the event that it handles.
        """
        while True:
            await self._hands.rest()
            if not self.listening or not self._wanted.is_set():
                return
            found = [await receiver.receive_now() for receiver in self._receivers]
            if not any(found) and self._hands.at_rest:
                return

    async def _run(self) -> None:
        await self._wanted.wait()
        async with asyncio.TaskGroup() as polls:
            for receiver in self._receivers:
                polls.create_task(receiver.run(), name="dawdle: receiver")

    async def _quiet(self, polls: asyncio.Task[None] | None, patience: float, *, hurry: bool) -> bool:
        """Wait until no receive is open and nothing in hand; False if the patience was over or a hurry came first.

        It is over by our clock or by the machine's, whichever is first: who holds a clock still must not hang a stop.
        """
        deadline = self._clock.monotonic() + patience
        quiet = asyncio.create_task(self._at_rest(polls), name="dawdle: wait for work in hand")
        ends: list[asyncio.Task[object]] = [
            asyncio.create_task(self._clock.sleep_until(deadline), name="dawdle: grace")
        ]
        if hurry:
            ends.append(asyncio.create_task(self._hurry.wait(), name="dawdle: a second signal"))
        try:
            await asyncio.wait([quiet, *ends], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            return quiet.done()
        finally:
            for task in (quiet, *ends):
                task.cancel()
            await asyncio.gather(quiet, *ends, return_exceptions=True)

    async def _at_rest(self, polls: asyncio.Task[None] | None) -> None:
        if polls is not None:
            await asyncio.wait([polls])
        await self._hands.wait_empty()
