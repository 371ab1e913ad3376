"""Runs a suspected poison message in isolation: if it kills the process, no other message may be in flight.

    open         receives go on as usual
    single file  a suspect came while others were in flight: receives ask for 1 message, each after the last one ended
    isolated     a suspect came and nothing else is in flight: no receive begins, and no other message starts
    cooldown     a single file of 30 s ended without a suspect: open, but no new single file for up to 120 s

    open ──► single file ──► isolated ── it ends, or 30 s ──► open
                  └── 30 s ──► cooldown ── ≤ 120 s ──► open        (isolated also follows on open and on cooldown)

Why single file: a suspect must not wait in flight until the others end. If the process ended meanwhile, for whatever
cause, the suspect would be blamed for it. So it is put off at once, as a copy, and the worker receives one message at a
time until the suspect comes back: then it is the only one in flight.

A suspect of an ordered queue cannot be put off: a copy would lose its place, and each release counts as a trial. It
waits in flight until all that runs beside it has ended, and nothing else starts meanwhile. Suspects that came together
run one by one in random order: the innocent ones among them are done before the poison's turn comes, sooner or later.

Why an allowance: each sender that can write to the queue can mark its messages as suspects, and so slow the worker to
one message at a time. So isolation gets a fifth of the worker's time in the long run. When the allowance is used up,
other messages go first. Time in which no other message came costs nothing: a receive that found none, or only a
suspect, and an isolation after which the next receive had to wait for a message. Without that, the last suspects of a
quiet queue would wait for the cooldown again and again, and a worker without an allowance would put off, for minutes,
those that another one has room for. For the same reason a suspect that a receive had to wait for needs no allowance.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from math import inf
from typing import Final

from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._log import EventLog
from dawdle.abc import Clock, Deadline

__all__ = ["Isolation"]

_log = EventLog(__name__)

SINGLE_FILE_SECONDS: Final = 30.0
"""Seconds for which messages are received in single file."""

COOLDOWN_FACTOR: Final = 4.0
"""How much longer than other messages were held back in a single file the next one waits, if the suspect did not come
back in this one: other messages must not wait for suspects."""

SHUFFLE_SECONDS: Final = 0.05
"""Seconds of the longest random wait that shuffles the suspects of an ordered queue which came together."""

MAX_ISOLATION_SECONDS: Final = 30.0
"""Seconds for which nothing else runs beside an isolated message. Then other messages start too. If it kills the
process after that, each of them has used up one of the five receives that make a suspect."""

ALLOWANCE_SECONDS: Final = 60.0
"""Seconds of single file and isolation in a row, before other messages go first."""

ALLOWANCE_SHARE: Final = 1 / (1 + COOLDOWN_FACTOR)
"""The part of each second that passes which comes back to the allowance."""

QUIET_SECONDS: Final = 0.5
"""Seconds of a receive that had to wait: longer than a queue takes to answer with messages that it has."""


class Isolation:
    """The isolated message of one app, if there is one, and the receives that wait for it."""

    def __init__(self, in_flight: InFlight, clock: Clock) -> None:
        self._in_flight = in_flight
        self._clock = clock
        self._open_receives = 0
        self._isolated: _Isolated | None = None
        self._one_receive = asyncio.Lock()
        self._single_file_until = -inf
        self._single_file_since = -inf
        self._free_seconds = 0.0
        """Seconds of this single file in which it held nothing back."""
        self._receive_began: float | None = None
        """When the latest receive in single file began; None once its time is counted as free."""
        self._unpaid_seconds = 0.0
        """Seconds of isolation which cost the allowance nothing if the next receive finds that no message waited."""
        self._is_quiet = False
        """Whether the latest receive had to wait: no other message was there, so an isolation holds none back."""
        self._suspects: set[InFlightMessage] = set()
        """Suspects of ordered queues, in flight: one of them runs, the others wait for it."""
        self._one_suspect = asyncio.Lock()
        self._receives_in_line = 0
        """How many receives wait for the one in single file."""
        self._allowance = Allowance(clock)

    @property
    def is_wanted(self) -> bool:
        """Whether a suspect is expected back, so that messages are received in single file."""
        return self._clock.monotonic() < self._single_file_until

    async def wait_over(self) -> None:
        """Return when no message is isolated, or the isolated one has had its time."""
        # A loop: the next isolation may begin before the task that waited for the last one has its turn.
        while (isolated := self._isolated) is not None and self._clock.monotonic() < isolated.until:
            try:
                async with Deadline(self._clock, isolated.until):
                    await isolated.over.wait()
            except TimeoutError:
                # The isolated message goes on; only its privilege ends, or a handler that hangs would stop the worker.
                self._end(isolated)

    @asynccontextmanager
    async def receiving(self, *, durable: bool) -> AsyncGenerator[None]:
        """Enter when a receive may begin, and count the block as an open one. If `is_wanted`, ask for one message.

        That of a queue that is not durable may wait for ever, so it does not count. What it brings does not start
        beside an isolated message, and ends with the process in any case: it cannot become a suspect.
        """
        await self.wait_over()
        if not self.is_wanted:
            with self._counted(durable):
                yield
            return
        # In single file: the lock lets one receive through at a time, and that one waits until nothing is in flight, so
        # that the message which it brings is the only one. At the window's end all go on as usual.
        async with self._in_line():
            try:
                async with Deadline(self._clock, self._single_file_until):
                    await self._in_flight.wait_empty()
            except TimeoutError:
                pass
            await self.wait_over()
            self._receive_began = self._clock.monotonic()
            with self._counted(durable):
                yield

    def found_no_other(self) -> None:
        """Note that the latest receive brought no message, or a suspect alone: in single file, its time was free."""
        # Another receive may have waited for this one, and its queue may have messages.
        if self._receive_began is not None and not self._receives_in_line:
            self._free_seconds += self._clock.monotonic() - self._receive_began
            self._receive_began = None

    @contextmanager
    def isolate(self) -> Generator[bool]:
        """Yield whether the calling message is isolated: then it is the only one in flight, and no receive begins.

        If it is not isolated, single file begins, and the caller puts its message off.
        """
        self.found_no_other()
        # An open receive counts like a message in flight: what it brings may already be on its way here, and the poison
        # would make a suspect of it.
        if self._is_refused or self._open_receives or len(self._in_flight) > 1 or self._isolated is not None:
            self._begin_single_file()
            yield False
            return
        if self.is_wanted:  # the allowance pays for the single file as well: it slowed the other messages too
            self._allowance.spend(self._clock.monotonic() - self._single_file_since - self._free_seconds)
        self._single_file_until = -inf
        with self._nothing_beside(MAX_ISOLATION_SECONDS):
            yield True

    @asynccontextmanager
    async def isolate_in_place(self, message: InFlightMessage) -> AsyncGenerator[bool]:
        """Yield whether a message of an ordered queue is isolated, once nothing else runs, or in 30 s at the latest.

        If it is not isolated, the allowance is used up or it was interrupted: the caller runs it beside the others.
        """
        self._suspects.add(message)
        try:
            await self._clock.sleep_until(self._clock.monotonic() + random.random() * SHUFFLE_SECONDS)
            async with AsyncExitStack() as stack:
                if is_isolated := await self._is_its_turn(message):
                    stack.callback(self._one_suspect.release)
                    await stack.enter_async_context(self._nothing_beside_suspects())
                yield is_isolated
        finally:
            self._suspects.discard(message)

    async def _is_its_turn(self, message: InFlightMessage) -> bool:
        """Wait until no other suspect runs, and take the turn; False if this one is not to be isolated any more."""
        if self._allowance.is_used_up:
            return False
        try:
            # Not for ever: the handler of the one before may hang.
            async with Deadline(self._clock, self._clock.monotonic() + 2 * MAX_ISOLATION_SECONDS):
                await self._one_suspect.acquire()
        except TimeoutError:
            return False
        await self.wait_over()
        if self._allowance.is_used_up or message.interrupted:
            self._one_suspect.release()
            return False
        return True

    @asynccontextmanager
    async def _nothing_beside_suspects(self) -> AsyncGenerator[None]:
        """Enter when nothing else runs, and start nothing in the block."""
        began = self._clock.monotonic()
        with self._nothing_beside(2 * MAX_ISOLATION_SECONDS):
            try:
                async with Deadline(self._clock, began + MAX_ISOLATION_SECONDS):
                    await self._in_flight.wait_until_only(self._suspects)
            except TimeoutError:
                pass
            yield

    @contextmanager
    def _nothing_beside(self, seconds: float) -> Generator[None]:
        """Start nothing else in the block, for so many seconds."""
        began = self._clock.monotonic()
        mine = self._isolated = _Isolated(began + seconds)
        self._in_flight.hold_back_others()
        # Each receive that waits ends the isolation in time. But a direct event waits too, and there may be no receive:
        # so this task does it in any case.
        timer = asyncio.create_task(self.wait_over(), name="dawdle: isolation")
        try:
            yield
        finally:
            self._unpaid_seconds += min(self._clock.monotonic(), mine.until) - began
            if self._in_flight.holds_back:
                self._pay()
            self._end(mine)
            timer.cancel()

    def _pay(self) -> None:
        seconds, self._unpaid_seconds = self._unpaid_seconds, 0.0
        self._allowance.spend(seconds)

    def _end(self, isolated: "_Isolated") -> None:
        """End an isolation, unless another one has begun since: a message may run for longer than it is isolated."""
        isolated.over.set()
        if self._isolated is isolated:
            self._isolated = None
            self._in_flight.stop_holding_back()

    @property
    def _is_refused(self) -> bool:
        """Whether a suspect is put off whatever room there is: other messages go first, and there may be some."""
        return self._allowance.is_used_up and not self._is_quiet

    def _begin_single_file(self) -> None:
        now = self._clock.monotonic()
        cooldown = COOLDOWN_FACTOR * max(0.0, SINGLE_FILE_SECONDS - self._free_seconds)
        if now >= self._single_file_until + cooldown and not self._allowance.is_used_up:
            self._single_file_since = now
            self._single_file_until = now + SINGLE_FILE_SECONDS
            self._free_seconds, self._receive_began = 0.0, None

    @asynccontextmanager
    async def _in_line(self) -> AsyncGenerator[None]:
        """Enter when all receives that came before have left."""
        self._receives_in_line += 1
        try:
            await self._one_receive.acquire()
        finally:
            self._receives_in_line -= 1
        try:
            yield
        finally:
            self._one_receive.release()

    @contextmanager
    def _counted(self, durable: bool) -> Generator[None]:
        self._open_receives += durable
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._open_receives -= durable
            if durable:
                self._is_quiet = self._clock.monotonic() - began >= QUIET_SECONDS
                if self._is_quiet:
                    self._unpaid_seconds = 0.0
                elif self._unpaid_seconds:  # what it brought was there already, or may have been, and was held back
                    self._pay()


class _Isolated:
    """One isolation: until when it lasts, by the app's clock, and whether it is over."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.over = asyncio.Event()


class Allowance:
    """Seconds that single file and isolation may take. They are spent by use, and a fifth of each second comes back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = ALLOWANCE_SECONDS
        self._reckoned_at = clock.monotonic()
        self._closed = False

    @property
    def is_used_up(self) -> bool:
        """Whether other messages go first: from when nothing is left, until there is enough for a whole single file."""
        self._reckon()
        if self._closed and self._left >= SINGLE_FILE_SECONDS:
            self._closed = False
        return self._closed

    def spend(self, seconds: float) -> None:
        """Take what was used, which may be more than there was."""
        self._reckon()
        self._left -= seconds
        if self._left <= 0:
            self._closed = True
            _log.warning(
                "suspected poison messages took too much time in isolation: for the next %.3g s other messages run "
                "first; the cause is many killed workers, or a sender that forges dawdletrial (set signing_keys)",
                (SINGLE_FILE_SECONDS - self._left) / ALLOWANCE_SHARE,
                about=None,
            )

    def _reckon(self) -> None:
        now = self._clock.monotonic()
        self._left = min(ALLOWANCE_SECONDS, self._left + (now - self._reckoned_at) * ALLOWANCE_SHARE)
        self._reckoned_at = now
