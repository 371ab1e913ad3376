"""The thread that owns the connection of one file. All calls that wait, of all kinds and queues, share a transaction.

    task:    submit ──► inbox ──┐                         ┌──► hand over: once per transaction and loop
    thread:                     └──► round: transaction ──┤
                                          ▲               └──► receives that found nothing wait here
                     a message is due, a receive's time is over, another process has stored something

While one transaction is synced the next calls gather: nothing lingers for more. On a clock that a test moves there is
no thread: each call is carried out at once where it is made, so a test sees its effect when it looks.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import inf

from dawdle._log import Log
from dawdle.abc import Clock, Delivery, SystemClock
from dawdle.backends.sqlite._answers import Answers
from dawdle.backends.sqlite._calls import (
    MICROSECONDS,
    AckCall,
    AnyCall,
    QueueCall,
    QueueRow,
    ReceiveCall,
    WorkCall,
)
from dawdle.backends.sqlite._database import LOCKED_SECONDS, Database
from dawdle.backends.sqlite._errors import FileReplacedError
from dawdle.backends.sqlite._executor import execute, must_sync, next_due
from dawdle.backends.sqlite._idle_work import IdleWork
from dawdle.backends.sqlite._inbox import Inbox
from dawdle.backends.sqlite._lock_holder import told_holder
from dawdle.backends.sqlite._wake_up import TICK_SECONDS, WakeUp
from dawdle.errors import BackendError, ConfigurationError, DawdleError

__all__ = ["Worker"]

_log = Log(__name__)


class Worker:
    """The calls to one file in one process. Everything but what says otherwise is for its own thread alone."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self.database = database
        self.has_thread = isinstance(clock, SystemClock)
        """Without one, callers that wait watch the clock themselves, and call `look`."""
        self._clock = clock
        self._stopping = False
        self._is_left = False
        self._forked = False
        self._waiting: list[ReceiveCall] = []
        self._wake_up = WakeUp(f"{database.path}-wake")
        self._inbox = Inbox(self._wake_up)
        self._idle_work = IdleWork(database, self._wake_up.notify_others)
        self._answers = Answers(database, clock, self.submit, inline=not self.has_thread)
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
        self._inbox.put(call)

    def watch_for_commit(self) -> None:
        """Look often for a while: a caller's transaction has stored something, and its commit sends no signal."""
        self._idle_work.watch()
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
            waiting: list[AnyCall] = [*self._batch, *self._working, *self._round_calls, *self._inbox]
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
            self.database.close()  # unless a call has done so: who closed the file may have been cancelled before it
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
            if not self._stopping:
                self._inbox.sleep(seconds)
            if not (self._inbox or self._stopping):
                self._forget_due()
                self._idle_work.do()
        return self._inbox.take()

    def _seconds_to_sleep(self) -> float | None:
        idle = self._idle_work.seconds
        if not self._waiting:
            return idle
        queues = {call.queue for call in self._waiting}
        until = min(call.until for call in self._waiting) - self._clock.monotonic()
        due = min(self._next_due(queue) for queue in queues) / MICROSECONDS - self._clock.now()
        return max(0.0, min(until, due, self._wake_up.tick, inf if idle is None else idle))

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
        self._waiting = [call for call in self._waiting if call.answer is None]
        self._forget_due()
        # Where a receive of this process still waits, it has taken all that is due.
        served = {call.queue for call in self._waiting if not call.is_over}
        entries, has_deleted, due = 0, False, inf
        for call in changes:
            entries += call.entries
            has_deleted = has_deleted or type(call) is AckCall
            if call.due < due and call.queue not in served:
                due = call.due
        self._inbox.note_load(entries)
        self._idle_work.note_transaction(has_deleted=has_deleted)
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
            wanted = [call for call in batch if call.answer is None and not call.future.done()]
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
        self._answers.hand_over(calls)
        for call in self._waiting:
            if call.look_again is not None:
                call.look_again.set()

    def give_back(self, queue: QueueRow, deliveries: Sequence[Delivery]) -> None:
        """Release what was received for a caller that has left meanwhile."""
        self._answers.give_back(queue, deliveries)


def _unexpected(error: Exception) -> BackendError:
    failed = BackendError(f"SQLite failed in a way that dawdle did not expect: {type(error).__name__}: {error}")
    failed.__cause__ = error
    return failed
