"""The thread that owns the connection of one file. All calls that wait, of all kinds and queues, share a transaction.

    task:    submit ──► inbox ──┐                         ┌──► hand over: once per transaction and loop
    thread:                     └──► round: transaction ──┤
                                          ▲               └──► receives that found nothing wait here
                     a message is due, a receive's time is over, another process has stored something

While one transaction is synced the next calls gather: nothing lingers for more. On a clock that a test moves there is
no thread: each call is carried out at once where it is made, so a test sees its effect when it looks.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from math import inf
from typing import Final

from dawdle._log import Log
from dawdle.abc import Clock, Delivery, Fault, ReleaseEntry, SystemClock
from dawdle.backends.sqlite._calls import (
    MICROSECONDS,
    AckCall,
    AnyCall,
    QueueCall,
    QueueRow,
    ReceiveCall,
    ReleaseCall,
    WorkCall,
)
from dawdle.backends.sqlite._database import LOCKED_SECONDS, Database
from dawdle.backends.sqlite._errors import FileReplacedError
from dawdle.backends.sqlite._executor import execute, must_sync, next_due, release_received
from dawdle.backends.sqlite._lock_holder import told_holder
from dawdle.backends.sqlite._wake_up import TICK_SECONDS, WakeUp
from dawdle.errors import BackendError, ConfigurationError, DawdleError

__all__ = ["Worker"]

_log = Log(__name__)

MAX_CALLS: Final = 64
"""Calls in one transaction: another process must get its turn."""

WATCH_SECONDS: Final = 5.0
"""Seconds for which a caller's own transaction is watched. Committed later, it is noticed by the usual look."""

WATCH_INTERVAL_SECONDS: Final = 0.02
"""Seconds between two looks meanwhile: each takes 2 µs, and the wake-up 50."""

BUSY_TURNS: Final = 8
"""Turns of a busy event loop in which its calls gather. What a transaction answers makes calls in several turns: events
are signaled, then handled, then deleted, and then their slots receive the next ones."""

BUSY_ENTRIES: Final = 16
"""Messages that a transaction stores, deletes or releases for the loop to be busy. Else a call waits for no other."""

VACUUM_SECONDS: Final = 1.0
"""Seconds without a transaction after which free pages are given back to the disk."""


class Worker:
    """The calls to one file in one process. Everything but what says otherwise is for its own thread alone."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.has_thread = isinstance(clock, SystemClock)
        """Without one, callers that wait watch the clock themselves, and call `look`."""
        self._clock = clock
        self._inbox: deque[AnyCall] = deque()
        self._gathered: dict[asyncio.AbstractEventLoop, list[AnyCall]] = {}
        self._turns = 0
        self._asleep = False
        self._watch_until = 0.0
        self._has_deleted = False
        self._busy_at = 0.0
        self._data_version = 0
        self._stopping = False
        self._is_left = False
        self._forked = False
        self._waiting: list[ReceiveCall] = []
        self._wake_up = WakeUp(f"{database.path}-wake")
        self._blocked_since: float | None = None
        self._batch: Sequence[QueueCall | ReceiveCall] = ()
        self._working: Sequence[WorkCall] = ()
        self._round_calls: Sequence[AnyCall] = ()
        # Held while calls are taken or given up: each of them is one of the two, never both.
        self._taking = threading.Lock()
        self._inline = threading.RLock()
        self._thread = threading.Thread(target=self._main, name=f"dawdle: {database.path}", daemon=True)

    def start(self) -> None:
        """Start the thread, which on a test's clock only hears of other processes."""
        self._thread.start()

    def submit(self, call: AnyCall) -> None:
        """Take a call, from any thread. Raises `ConfigurationError` in a process that was forked since."""
        if self._forked:
            raise ConfigurationError(
                f"this process was forked from one that has {self.database.path} open, and cannot use it: start child "
                f"processes before the app is entered, or by multiprocessing's 'spawn'"
            )
        if self._stopping:
            raise BackendError(f"{self.database.path} was closed", uncertain=False)
        if not self.has_thread:
            with self._inline:
                self._round([call])
            return
        # The calls that the loop makes in one turn go together, and while it is busy those of several turns: a burst of
        # sends, acks and receives is one transaction. Measured at 64 signalers with 100 slots, 49 events share one. With
        # one turn it was 20, and 11 without any.
        gathered = self._gathered.get(call.loop)
        if gathered is None:
            self._forget_closed_loops()
            gathered = self._gathered[call.loop] = []
            call.loop.call_soon(self._pass_on, call.loop, self._turns)
        gathered.append(call)

    def _forget_closed_loops(self) -> None:
        """Drop the calls of loops that were closed before their next turn."""
        for loop in list(self._gathered):
            if loop.is_closed():
                self._gathered.pop(loop, None)

    def _pass_on(self, loop: asyncio.AbstractEventLoop, turns: int) -> None:
        if turns:
            loop.call_soon(self._pass_on, loop, turns - 1)
            return
        self._inbox.extend(self._gathered.pop(loop, ()))
        # The thread sets the flag, looks into the inbox again, and sleeps: it sees these calls, or this sees the flag.
        if self._asleep:
            self._asleep = False
            self._wake_up.wake()

    def watch_for_commit(self) -> None:
        """Look often for a while: a caller's transaction has stored something, and its commit sends no signal."""
        self._watch_until = time.monotonic() + WATCH_SECONDS
        self._wake_up.wake()

    def look(self) -> None:
        """Look for messages that are due and for receives whose time is over. Where there is no thread."""
        with self._inline:
            self._forget_due()
            self._round([])

    def next_look(self, call: ReceiveCall) -> float:
        """Return when to call `look` for a waiting receive, by the clock's `monotonic()`."""
        with self._inline:
            due = self._next_due(call.queue)
        return min(call.until, self._clock.monotonic() + max(0.0, due / MICROSECONDS - self._clock.now()))

    def stop(self, *, wait: bool) -> None:
        """End the thread; `wait` for it, unless it hangs: then it closes what is left when it no longer does."""
        self._is_left = not wait
        self._stopping = True
        self._wake_up.wake()
        if wait:
            self._thread.join()  # it has nothing left to do
            self._wake_up.close()

    def abandon_blocked(self) -> None:
        """Fail the calls that wait, if the file has been locked for too long. From any thread."""
        # The thread itself cannot: it waits for a lock of the system, which has no time limit.
        since = self._blocked_since or self.database.waiting_since
        if since is None or time.monotonic() - since < LOCKED_SECONDS:
            return
        who, what_to_do = told_holder(self.database.path)
        with self._taking:
            waiting: list[AnyCall] = [*self._batch, *self._working, *self._round_calls, *list(self._inbox)]
            calls = [call for call in waiting if not (call.taken or call.is_over)]
            error = BackendError(
                f"{self.database.path} has been locked for {LOCKED_SECONDS:g} s by {who}: {what_to_do}", uncertain=False
            )
            for call in calls:
                call.answer = error
        self._hand_over(calls)

    def forked(self) -> None:
        """Make this copy in a forked child useless, and harmless to the parent."""
        self._forked = True
        self.database.forked()
        self._wake_up.close(remove=False)

    # The thread

    def _main(self) -> None:
        if not self.has_thread:
            self._listen()
            return
        while not (self._stopping and not self._inbox):
            self._guarded_round()
        self._end_calls(self._waiting, BackendError(f"{self.database.path} was closed", uncertain=False))
        if self._is_left:
            self._wake_up.close()

    def _guarded_round(self) -> None:
        """Do one round. A bug in it ends its calls, and not the thread: else all callers would wait for ever."""
        try:
            self._round(self._next_calls())
        except Exception as error:  # noqa: BLE001 - as in `_transact`
            _log.exception(
                "could not carry out the calls to %s because of a bug in dawdle: they fail; report this traceback",
                self.database.path,
            )
            self._end_calls([*self._round_calls, *self._waiting], _unexpected(error))

    def _end_calls(self, calls: Sequence[AnyCall], error: BackendError) -> None:
        left = [call for call in calls if not call.is_over]
        for call in left:
            call.answer = error
        self._waiting = []
        self._hand_over(left)

    def _listen(self) -> None:
        """Tell the callers on a test's clock when another process has stored something."""
        while not self._stopping:
            self._wake_up.wait(self._wake_up.tick)
            for loop in {call.loop for call in list(self._waiting)}:
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(self.look)

    def _next_calls(self) -> list[AnyCall]:
        """Sleep until there is something to do, and return the calls that have come."""
        if not self._inbox:
            seconds = self._seconds_to_sleep()
            self._asleep = True
            if not self._inbox and not self._stopping:
                self._wake_up.wait(seconds)
                if not self._inbox:
                    self._look_around()
            self._asleep = False
        return [self._inbox.popleft() for _ in range(min(len(self._inbox), MAX_CALLS))]

    def _seconds_to_sleep(self) -> float | None:
        watching = time.monotonic() < self._watch_until
        if not self._waiting:
            return WATCH_INTERVAL_SECONDS if watching else VACUUM_SECONDS if self._has_deleted else None
        queues = {call.queue for call in self._waiting}
        until = min(call.until for call in self._waiting) - self._clock.monotonic()
        due = min(self._next_due(queue) for queue in queues) / MICROSECONDS - self._clock.now()
        return max(0.0, min(until, due, WATCH_INTERVAL_SECONDS if watching else self._wake_up.tick))

    def _look_around(self) -> None:
        """Do what an idle thread does now and then."""
        self._forget_due()
        now = time.monotonic()
        if now < self._watch_until:
            self._notice_commit()
        if self._has_deleted and now - self._busy_at >= VACUUM_SECONDS:
            with suppress(BackendError):  # the next call tells its caller
                self._has_deleted = self.database.vacuum()

    def _notice_commit(self) -> None:
        """Tell the other processes of a commit that is not ours, while a caller's own transaction is watched."""
        with suppress(BackendError):  # the next call tells its caller
            version = self.database.data_version()
            if version != self._data_version:
                self._data_version = version
                self._wake_up.notify_others()

    def _next_due(self, queue: QueueRow) -> float:
        """Return when the next message of a queue is visible, in microseconds; of a file that cannot be read, now."""
        if queue.next_due is None:
            try:
                queue.next_due = self.database.read(lambda connection: next_due(connection, queue))
            except BackendError:  # the next transaction fails as well, and tells the callers
                return 0.0
        return queue.next_due

    def _forget_due(self) -> None:
        for call in self._waiting:
            call.queue.next_due = None

    def _round(self, new: Iterable[AnyCall]) -> None:
        """Carry out calls, and the receives that wait, if there is anything for them."""
        done: list[AnyCall] = []
        changes: list[QueueCall] = []
        self._round_calls = list(new)
        for call in self._round_calls:
            if isinstance(call, ReceiveCall):
                self._wake_up.listen()
                call.queue.next_due = None
                self._waiting.append(call)
            elif isinstance(call, WorkCall):
                if changes:  # what came before a close is carried out before it
                    done += self._carry_out(changes)
                    changes = []
                self._work(call)
                done.append(call)
            else:
                changes.append(call)
        if self._waiting:
            # One whose loop has closed would claim messages at each look, and count as a receive of them each time.
            self._waiting = [call for call in self._waiting if not (call.is_over or call.loop.is_closed())]
        if changes or self._is_due():
            done += self._carry_out(changes)
        if self._waiting:
            done += self._end_receives()
        self._round_calls = ()
        self._hand_over(done)

    def _carry_out(self, changes: Sequence[QueueCall]) -> list[AnyCall]:
        """Carry out calls, and let all receives that wait claim messages. Return the calls that are answered."""
        batch: list[QueueCall | ReceiveCall] = [*changes, *self._waiting]
        self._transact(batch)
        self._turns = BUSY_TURNS if sum(call.entries for call in changes) >= BUSY_ENTRIES else 0
        self._busy_at = time.monotonic()
        self._waiting = [call for call in self._waiting if call.answer is None]
        self._forget_due()
        # Where a receive of this process still waits, it has taken all that is due.
        served = {call.queue for call in self._waiting if not call.is_over}
        due = inf
        for call in changes:
            if call.due < due and call.queue not in served:
                due = call.due
            self._has_deleted |= type(call) is AckCall
        if due <= (self._clock.now() + TICK_SECONDS) * MICROSECONDS:  # before others look of their own accord
            self._wake_up.notify_others()
        return [call for call in batch if call.answer is not None]

    def _is_due(self) -> bool:
        """Whether a receive that waits may find a message now."""
        at = self._clock.now() * MICROSECONDS
        return any(self._next_due(call.queue) <= at for call in self._waiting)

    def _transact(self, batch: Sequence[QueueCall | ReceiveCall]) -> None:
        """Carry out calls in one transaction. If it fails they all get its error, also the receives that wait."""
        self._batch, self._blocked_since = batch, time.monotonic()
        try:
            self.database.transact(
                lambda connection: execute(connection, self._take(batch), self._clock.now()), sync=must_sync(batch)
            )
        except Exception as error:  # noqa: BLE001 - the thread goes on, and the callers are told
            failed = error if isinstance(error, DawdleError) else _unexpected(error)
            with self._taking:
                for call in batch:
                    # An answer that the transaction gave is void now; one of a call that was given up is an error.
                    if not isinstance(call.answer, DawdleError):
                        call.answer = failed
            if isinstance(error, FileReplacedError):
                self._reopen()
        finally:
            self._batch, self._blocked_since = (), None
            for call in batch:
                call.taken = False

    def _take(self, batch: Sequence[QueueCall | ReceiveCall]) -> list[QueueCall | ReceiveCall]:
        """Return the calls that are still wanted, once the transaction has begun: now only it ends them."""
        with self._taking:
            self._blocked_since = None
            wanted = [call for call in batch if not call.is_over]
            for call in wanted:
                call.taken = True
        return wanted

    def _reopen(self) -> None:
        _log.error("%s was replaced or deleted while it was open: opening what is there now", self.database.path)
        try:
            self.database.reopen()
        except DawdleError as error:
            _log.error("could not open %s again: %s", self.database.path, error.__cause__ or error)

    def _work(self, call: WorkCall) -> None:
        if call.is_over:
            return
        self._working = (call,)
        answer: list[object] | DawdleError
        try:
            answer = [call.work()]
        except Exception as error:  # noqa: BLE001 - the thread goes on, and the caller is told
            answer = error if isinstance(error, DawdleError) else _unexpected(error)
        with self._taking:
            self._working = ()
            if not call.is_over:  # it was given up while it waited for the lock
                call.answer = answer

    def _end_receives(self) -> list[ReceiveCall]:
        """Answer the receives whose time is over, and return them."""
        now = self._clock.monotonic()
        over = [call for call in self._waiting if call.until <= now]
        for call in over:
            call.answer = []
        if over:
            self._waiting = [call for call in self._waiting if call.answer is None]
        return over

    def _hand_over(self, calls: Sequence[AnyCall]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[AnyCall]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, mine in by_loop.items():
            if not self.has_thread and _running_loop() is loop:
                self._hand_over_here(mine)
            else:
                try:
                    loop.call_soon_threadsafe(self._hand_over_here, mine)
                except RuntimeError:  # it is closed, and its tasks with it
                    self._give_back_here(mine)
        for call in self._waiting:
            if call.look_again is not None:
                call.look_again.set()

    def _hand_over_here(self, calls: Iterable[AnyCall]) -> None:
        """Give the callers of this loop their answers."""
        for call in calls:
            if not call.hand_over() and isinstance(call, ReceiveCall) and isinstance(call.answer, list):
                self.give_back(call.queue, call.answer)

    def _give_back_here(self, calls: Iterable[AnyCall]) -> None:
        """Release in this thread what was received for callers whose loop is closed."""
        for call in calls:
            if isinstance(call, ReceiveCall) and isinstance(call.answer, list) and call.answer:
                with suppress(BackendError):  # the lease ends instead
                    self.database.transact(partial(release_received, call, self._clock.now()), sync=False)
                call.queue.next_due = None

    def give_back(self, queue: QueueRow, deliveries: Sequence[Delivery]) -> None:
        """Release what was received for a caller that has left meanwhile."""
        if deliveries and not self._stopping:
            call = ReleaseCall(queue, [ReleaseEntry(each.receipt, 0.0) for each in deliveries])
            call.future.add_done_callback(_ignore)
            self.submit(call)


def _ignore(future: asyncio.Future[list[Fault | None]]) -> None:
    """Take note of an error that no caller waits for: the lease ends instead."""
    if not future.cancelled():
        future.exception()


def _unexpected(error: Exception) -> BackendError:
    failed = BackendError(f"SQLite failed in a way that dawdle did not expect: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
