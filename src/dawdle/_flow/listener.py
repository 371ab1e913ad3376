"""Starts and stops the receivers, and keeps the order in which receives, handlers and settling end."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

from dawdle._flow.handler_limits import HandlerLimits
from dawdle._flow.in_flight import InFlight
from dawdle._flow.letter_notices import LetterNotices
from dawdle._flow.receiver import Receiver
from dawdle.abc import Clock

__all__ = ["Listener"]

FLUSH_SECONDS: Final = 3.0
"""Seconds for what is left to do when the grace is over: settle what was cut off, answer callers that wait."""


class Listener:
    """Starts and stops receiving, in any order and any number of times.

    stopped ── start ──► receiving ── begin_stop ──► stopping ── all is quiet, or the time is over ──► stopped

    While it stops, no receive begins, open receives finish, and handlers run on. A start that comes meanwhile waits for
    the end of the stop. After `close`, a start does nothing.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        *,
        in_flight: InFlight,
        limits: HandlerLimits,
        notices: LetterNotices,
        clock: Clock,
        listen: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
        grace_ended: asyncio.Event,
    ) -> None:
        self._receivers = receivers
        self._in_flight = in_flight
        self._limits = limits
        self._notices = notices
        self._clock = clock
        self._listen = listen
        self._has_handlers = asyncio.Event()
        self._polls: asyncio.Task[None] | None = None
        self._ending = False
        self._stops = 0
        self._closed = False
        self._grace_ended = grace_ended

    @property
    def listening(self) -> bool:
        """Whether receives are made, or will be as soon as there is a handler."""
        return self._polls is not None and not self._polls.done()

    @property
    def receiving(self) -> bool:
        """Whether receives are made now."""
        return self.listening and self._has_handlers.is_set() and not self._ending

    def handler_added(self) -> None:
        """Note that there is a handler: without one, receives would only move messages back and forth."""
        self._has_handlers.set()

    async def start(self) -> None:
        """Begin to receive. A stop that is under way comes to its end first, and one that begins meanwhile wins."""
        stops = self._stops
        while self._polls is not None and not self._polls.done() and self._ending:
            await asyncio.wait([self._polls])
        if not self.listening and stops == self._stops and not self._closed:
            self._ending = False
            for receiver in self._receivers:
                receiver.allow()
            self._polls = self._listen(self._run())

    def begin_stop(self) -> None:
        """Receive no more, give back the messages that wait for a slot, and do not wait for what runs."""
        self._ending = True
        self._stops += 1
        for receiver in self._receivers:
            receiver.stop()
        self._in_flight.interrupt_waiting()
        self._limits.interrupt_waiting()
        if self._polls is not None and not self._has_handlers.is_set():
            self._polls.cancel()

    async def stop(self, grace: float) -> None:
        """Receive no more, and return when nothing is in flight, `grace` seconds and a flush from now at the latest.

        A start that comes meanwhile wins: then nothing is cut off.
        """
        self.begin_stop()
        polls = self._polls
        if not await self._wait_quiet(polls, grace, may_be_cut_short=True) and self._polls is polls:
            try:
                await self._cut_off(polls)
            finally:
                self._notices.allow()

    async def _cut_off(self, polls: asyncio.Task[None] | None) -> None:
        """End the handlers and receives that still run, and wait for what is left of them to be settled: the flush."""
        for receiver in self._receivers:
            receiver.log_abandoned()
        if polls is not None:
            polls.cancel()  # what an open poll would have brought is visible when its lease ends
        self._in_flight.interrupt()
        self._notices.cut_off()
        await self._wait_quiet(polls, FLUSH_SECONDS, may_be_cut_short=False)

    async def close(self, grace: float) -> None:
        """Stop for good: from now on a start does nothing. When the grace is over, direct events are stored instead."""
        self._closed = True
        self.begin_stop()
        await self._wait_quiet(self._polls, grace, may_be_cut_short=True)
        self._in_flight.close()
        if len(self._in_flight) or self._notices.busy or self.listening:
            await self._cut_off(self._polls)

    async def idle(self) -> None:
        """Return when nothing that is due is left: nothing in flight, and a receive that came back empty after that.

        A handler that waits here is not waited for, and neither is the event that it handles. A handler of letters
        waits for no other.
        """
        while True:
            await self._in_flight.wait_idle()
            await self._notices.wait_quiet()
            if not self.listening or not self._has_handlers.is_set():
                return
            found = [await receiver.receive_now() for receiver in self._receivers]
            if not any(found) and self._in_flight.is_idle and self._notices.is_idle:
                return

    async def _run(self) -> None:
        await self._has_handlers.wait()
        async with asyncio.TaskGroup() as polls:
            for receiver in self._receivers:
                polls.create_task(receiver.run(), name="dawdle: receiver")

    async def _wait_quiet(self, polls: asyncio.Task[None] | None, timeout: float, *, may_be_cut_short: bool) -> bool:
        """Wait until no receive is open and nothing is in flight; False if the time was over before that, or cut short.

        Time is over by the app's clock or by the machine's, whichever is first: a held clock must not hang a stop.
        """
        deadline = self._clock.monotonic() + timeout
        quiet = asyncio.create_task(self._until_quiet(polls), name="dawdle: wait for work in flight")
        ends: list[asyncio.Task[object]] = [
            asyncio.create_task(self._clock.sleep_until(deadline), name="dawdle: grace")
        ]
        if may_be_cut_short:
            ends.append(asyncio.create_task(self._grace_ended.wait(), name="dawdle: a second signal"))
        try:
            await asyncio.wait([quiet, *ends], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            return quiet.done()
        finally:
            for task in (quiet, *ends):
                task.cancel()
            await asyncio.gather(quiet, *ends, return_exceptions=True)

    async def _until_quiet(self, polls: asyncio.Task[None] | None) -> None:
        if polls is not None:
            await asyncio.wait([polls])
        await self._in_flight.wait_empty()
        while self._notices.busy:  # a handler of letters may signal a direct event, and that may die
            await self._notices.wait_quiet()
            await self._in_flight.wait_empty()
