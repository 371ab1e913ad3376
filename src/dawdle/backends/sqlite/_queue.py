"""One queue of a file, as `dawdle.abc.Backend` wants it: checks what it is given, and makes calls of it. No SQL."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Self

import msgspec

from dawdle.abc import Clock, Counts, Deadline, Delivery, Fault, Limits, Outgoing, ReleaseEntry, Renew, Stored
from dawdle.backends._open_guard import OpenGuard
from dawdle.backends.sqlite import _statements as statements
from dawdle.backends.sqlite._caller_transaction import store_in
from dawdle.backends.sqlite._calls import (
    AckCall,
    QueueRow,
    ReceiveCall,
    ReleaseCall,
    RenewCall,
    SendCall,
)
from dawdle.backends.sqlite._connection import Durability
from dawdle.backends.sqlite._database import Database
from dawdle.backends.sqlite._executor import oldest
from dawdle.backends.sqlite._open_files import close_file, do, open_file
from dawdle.backends.sqlite._storing import storing_if_as_opened
from dawdle.backends.sqlite._worker import Worker
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["FileOptions", "Queue"]

WATCH_SECONDS: float = 5.0
"""Seconds between two looks at whether the thread hangs in a lock of the system."""


class FileOptions(msgspec.Struct, frozen=True):
    """What all queues of one SQLite object share."""

    path: str
    durability: Durability
    allow_network_file_system: bool
    clock: Clock


class Queue:
    """One queue: the events, their dead letters, or those that an ordered queue delays."""

    def __init__(self, name: str, role: str, file: FileOptions, limits: Limits, guard: OpenGuard) -> None:
        self.limits = limits
        self._name = name
        self._role = role
        self._file = file
        self._clock = file.clock
        self._guard = guard
        self._worker: Worker | None = None
        self._row: QueueRow | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._lease = limits.lease or 0.0

    def __repr__(self) -> str:
        role = f", {self._role}" if self._role else ""
        return f"SQLite({self._file.path!r}, name={self._name!r}{role})"

    @property
    def dead_letters(self) -> "Queue | None":
        """The queue that keeps what was given up, in the same file."""
        return None

    @property
    def delayed(self) -> "Queue | None":
        """A second queue for delayed messages, in the same file; None: this one delays its own."""
        return None

    @property
    def description(self) -> Mapping[str, str | int]:
        """What telemetry says of it: the queue's name, and no path."""
        name = f"{self._name} ({self._role})" if self._role else self._name
        return {"messaging.system": "sqlite", "messaging.destination.name": name}

    @property
    def identity(self) -> str:
        """The name of this queue in every process: the file's own id and the queue's name."""
        return f"sqlite:{self._opened()[0].database.file_id}/{self._name}"

    def go_by(self, clock: Clock) -> None:
        """Go by another clock, once the queue is opened."""
        self._clock = clock
        self._file = msgspec.structs.replace(self._file, clock=clock)

    async def __aenter__(self) -> Self:
        self._guard.mark_open(self)
        try:
            file = self._file
            self._worker = await open_file(
                file.path, file.clock, file.durability, allow_network_file_system=file.allow_network_file_system
            )
            try:
                await self._open_rows(self._worker)
            except BaseException:
                await close_file(self._worker)
                raise
        except BaseException:
            self._forget_worker()
            self._guard.mark_closed()
            raise
        if self._worker.has_thread:
            self._watch_lock()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        worker = self._worker
        self._forget_worker()
        self._guard.mark_closed()
        if worker is not None:
            await close_file(worker)

    def _forget_worker(self) -> None:
        """Let no call go to a thread that has ended, not even one to an attached queue."""
        for queue in (self, self.dead_letters, self.delayed):
            if queue is not None:
                queue._worker = queue._row = None

    async def prepare_receive(self) -> None:
        """Do nothing: there is nothing to look up."""

    async def _open_rows(self, worker: Worker) -> None:
        """Find or make the rows of this queue and of those attached to it."""
        for queue in (self, self.dead_letters, self.delayed):
            if queue is not None:
                queue._row = await do(worker, partial(queue._open_row, worker.database))
                queue._worker = worker

    def _open_row(self, database: Database) -> QueueRow:
        return database.open_queue(self._name, self._role, ordered=self.limits.ordered)

    def _watch_lock(self) -> None:
        if self._worker is not None:
            self._worker.abandon_blocked()
            self._watch = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch_lock)

    def _opened(self) -> tuple[Worker, QueueRow]:
        if self._worker is None or self._row is None:
            raise ConfigurationError(f"{self!r} is not open: enter it by `async with`, or give it to an app")
        return self._worker, self._row

    async def send(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages. One that is too large is refused alone."""
        worker, row = self._opened()
        refused = self._refusals(batch)
        good = batch
        if any(refused):
            good = [outgoing for outgoing, fault in zip(batch, refused, strict=True) if fault is None]
        if good:
            call = SendCall(row, good)
            worker.submit(call)
            await call.future  # whether they are stored; none of them is refused by SQLite alone
        return refused

    async def send_in(self, transaction: object, batch: Sequence[Outgoing]) -> list[Fault | None]:
        """Store messages in the caller's own transaction on this file: they are stored if and only if it commits.

        `transaction`: a `sqlite3.Connection`, an `aiosqlite.Connection`, or a `Connection`, `Session`,
        `AsyncConnection` or `AsyncSession` of SQLAlchemy. Raises `ConfigurationError` for anything else, for one of
        another database, and for one that commits each statement at once. Raises `BackendError` if SQLite refuses, such
        as when the file is locked; what the transaction did before is still in it.
        """
        worker, row = self._opened()
        refused = self._refusals(batch)
        good = [outgoing for outgoing, fault in zip(batch, refused, strict=True) if fault is None]
        if good or not batch:
            await store_in(transaction, worker.database.path, storing_if_as_opened(row, good, self._clock.now()))
        if good:
            worker.watch_for_commit()
        return refused

    async def receive(self, limit: int, wait: float) -> list[Delivery]:
        """Receive up to `limit` messages, waiting up to `wait` seconds for the first. Loses none when cancelled."""
        worker, row = self._opened()
        call = ReceiveCall(row, limit, self._lease, self._clock.monotonic() + wait)
        if not worker.has_thread:
            call.look_again = asyncio.Event()
        worker.submit(call)
        try:
            if call.look_again is not None:
                await self._watch_clock(worker, call, call.look_again)
            return await call.future
        except asyncio.CancelledError:
            # The cancellation may come when the messages are here already, but before this task runs again.
            if not call.future.cancel() and call.future.exception() is None:
                worker.give_back(row, call.future.result())
            raise

    async def ack(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Delete received messages. A receipt from an earlier receive deletes nothing."""
        worker, row = self._opened()
        call = AckCall(row, receipts)
        worker.submit(call)
        return await call.future

    async def renew(self, receipts: Sequence[str]) -> list[Fault | None]:
        """Hide received messages for a full lease from now."""
        worker, row = self._opened()
        call = RenewCall(row, receipts, self._lease)
        worker.submit(call)
        return await call.future

    async def release(self, batch: Sequence[ReleaseEntry]) -> list[Fault | None]:
        """Let messages be received again in so many seconds."""
        worker, row = self._opened()
        call = ReleaseCall(row, batch)
        worker.submit(call)
        return await call.future

    @asynccontextmanager
    async def renewer(self) -> AsyncGenerator[Renew]:
        """Yield `renew` itself: the file has a thread of its own, which no handler blocks."""
        yield self.renew

    async def count(self) -> Counts:
        """Return how many messages are waiting, in flight and delayed, exactly."""
        worker, row = self._opened()
        return await do(
            worker,
            lambda: worker.database.read(lambda connection: statements.count(connection, row, self._clock.now())),
        )

    async def browse(self, limit: int, after: str | None = None) -> list[Stored]:
        """Return up to `limit` messages in the order in which they were stored, those behind the one with this key."""
        worker, row = self._opened()
        number, _, opening = ("0" if after is None else after).partition(".")

        def read(connection: sqlite3.Connection) -> list[Stored]:
            if after is not None and int(opening or 0) != row.opening:
                raise BackendError(f"{self._file.path} was replaced while it was read: read it anew", uncertain=False)
            return statements.browse(connection, row, limit, int(number))

        return await do(worker, lambda: worker.database.read(read))

    async def oldest(self) -> float | None:
        """Return for how many seconds the oldest message that waits could have been received; None: none waits."""
        worker, row = self._opened()
        return await do(
            worker,
            lambda: worker.database.read(lambda connection: oldest(connection, row, self._clock.now())),
        )

    def _refusals(self, batch: Sequence[Outgoing]) -> list[Fault | None]:
        longest, latest = self.limits.max_body, self.limits.max_delay
        for outgoing in batch:
            if len(outgoing.body) > longest or not 0 <= outgoing.delay <= latest:
                return [self._refusal(each) for each in batch]
        return [None] * len(batch)

    def _refusal(self, outgoing: Outgoing) -> Fault | None:
        limits = self.limits
        if len(outgoing.body) > limits.max_body:
            return Fault(
                "refused",
                f"the body has {len(outgoing.body):,} bytes, and this queue takes at most {limits.max_body:,}",
            )
        if not 0 <= outgoing.delay <= limits.max_delay:
            return Fault("refused", f"the delay is {outgoing.delay} s, and this queue takes 0 to {limits.max_delay}")
        return None

    async def _watch_clock(self, worker: Worker, call: ReceiveCall, look_again: asyncio.Event) -> None:
        """Look for messages when the test's clock says that one is due, until the call is answered."""
        while call.answer is None:
            look_again.clear()
            try:
                async with Deadline(self._clock, worker.next_look(call)):
                    await look_again.wait()
            except TimeoutError:
                worker.look()
