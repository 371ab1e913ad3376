"""One connection to one file: opens it, runs transactions on it, opens it again. Knows neither calls nor threads.

lock file ──► files are ours? ──► BEGIN IMMEDIATE ──► work ──► COMMIT, synced ──► files are ours? ──► unlock
"""

import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, TypeVar
from weakref import WeakSet

from dawdle._log import Log
from dawdle.backends.sqlite._calls import QueueRow
from dawdle.backends.sqlite._connection import (
    Durability,
    close_unchecked,
    connect,
    give_back_pages,
    never_close,
    sync_commits,
)
from dawdle.backends.sqlite._errors import FileReplacedError, backend_error, error_name, is_busy
from dawdle.backends.sqlite._file_check import (
    FileCheck,
    require_file_of_log,
    require_local_file_system,
    require_one_name,
    warn_of_wal_reset_bug,
)
from dawdle.backends.sqlite._file_lock import FileLock
from dawdle.backends.sqlite._log_gap import LogGap
from dawdle.backends.sqlite._schema import file_id, migrate, open_queue
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["Database"]

_log = Log(__name__)

Result = TypeVar("Result")

LOCKED_SECONDS: Final = 20.0
"""Seconds that a transaction waits for a program that keeps the file locked, until its calls fail."""

MAX_UNSYNCED: Final = 500
"""Transactions in a row that are not synced. After them one is, since only then the log is emptied."""

MIN_SQLITE: Final = (3, 35)

_CONFIGURATION: Final = ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN", "SQLITE_NOTADB", "SQLITE_CORRUPT")
"""Errors that last until the path or the file is changed: when it is opened, they are the caller's."""


class Database:
    """The connection to one file. Used by one thread at a time."""

    def __init__(self, path: str, durability: Durability, *, allow_network_file_system: bool) -> None:
        self.path = path
        self.durability: Durability = durability
        self.file_id = ""
        """The name that the file keeps wherever it is moved to; known once it is open."""
        self._allow_network = allow_network_file_system
        self._connection: sqlite3.Connection | None = None
        self._lock: FileLock | None = None
        self._files: FileCheck | None = None
        self._syncs = True
        self._gap = LogGap(path)
        self._unsynced = 0
        """How many transactions in a row were not synced."""
        self._broken = False
        self._lost: FileCheck | None = None
        self._opening = 0
        self._rows: WeakSet[QueueRow] = WeakSet()

    # Opening and closing

    def open_once(self) -> None:
        """Open the file unless it is open."""
        if self._broken:
            raise _broken(self.path)
        if self._connection is None:
            self.open()

    def open(self) -> None:
        """Open the file, and make it and its tables where they are missing.

        Raises `ConfigurationError` for what cannot work, and `BackendError` for what may pass.
        """
        require_local_file_system(self.path, allowed=self._allow_network)
        directory = os.path.dirname(self.path)
        if not os.path.isdir(directory):
            raise ConfigurationError(f"cannot open {self.path}: there is no directory {directory}")
        if sqlite3.sqlite_version_info < MIN_SQLITE:
            raise ConfigurationError(f"dawdle needs SQLite 3.35 or later, and this Python has {sqlite3.sqlite_version}")
        try:
            self._lock = FileLock(f"{self.path}-lock", self._access_rights())
            # No other process may open it meanwhile: two would race to set up the log, and one would find it locked.
            with self._lock, self._gap.noted(self._lock):
                require_file_of_log(self.path)
                require_one_name(self.path)
                self._connect()
        except sqlite3.Error as error:
            self.close()
            failed = backend_error(error, self.path)
            if error_name(error).startswith(_CONFIGURATION):
                raise ConfigurationError(str(failed)) from error
            raise failed from error
        except OSError as error:
            self.close()
            raise ConfigurationError(
                f"cannot open {self.path}-lock, which dawdle keeps beside the database: {error.strerror or error}; let "
                f"this user write to the directory"
            ) from error
        except BaseException:
            self.close()
            raise
        warn_of_wal_reset_bug(self.path)

    @property
    def waiting_since(self) -> float | None:
        """Since when it waits for the lock of another process, by `time.monotonic()`. For any thread."""
        lock = self._lock
        return None if lock is None else lock.waiting_since

    def open_queue(self, name: str, role: str, *, ordered: bool) -> QueueRow:
        """Return a queue of this file; make it if there is none. Raises `ConfigurationError` for one that differs."""
        row = self.transact(lambda connection: open_queue(connection, self.path, name, role, ordered=ordered))
        row.opening = self._opening
        self._rows.add(row)
        return row

    def close(self) -> None:
        """Close the connection. The last one of all processes moves the log into the file."""
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        files, self._files = self._files, None
        try:
            if connection is not None and lock is not None:
                with lock:
                    try:
                        if files is not None:
                            files.check(committed=False)
                    except FileReplacedError:
                        assert files is not None, "they were looked at"
                        close_unchecked(connection, files)
                    else:
                        connection.close()
        except sqlite3.Error as error:
            _log.warning("could not close %s: %s", self.path, error)
        finally:
            if lock is not None:
                lock.close()

    def _access_rights(self) -> int | None:
        try:
            return os.stat(self.path).st_mode & 0o666
        except OSError:
            return None

    def _connect(self) -> None:
        connection = self._connection = connect(self.path, self.durability, LOCKED_SECONDS)
        self._syncs = True
        connection.execute("BEGIN IMMEDIATE")
        migrate(connection, self.path)
        connection.execute("COMMIT")
        self.file_id = file_id(connection)
        self._files = FileCheck(self.path)

    def reopen(self) -> None:
        """Open what lies at the path now, after the file or its log was replaced."""
        connection, files = self._connection, self._files
        self._connection = self._files = None
        if connection is not None and files is not None:
            self._broken = not close_unchecked(connection, files)
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()
        self._lost = files
        self._opened()

    def _open_again(self, lost: FileCheck) -> None:
        """Open what lies at the path now. If that fails, the next call tries again: the file may be back by then."""
        lost.require_own_log()
        try:
            self.open_once()
            self._opening += 1
            self.transact(self._find_rows)
        except ConfigurationError as error:
            self.close()
            raise BackendError(f"could not open {self.path} again: {error}", uncertain=False) from error
        except BackendError:
            self.close()
            raise
        self._lost = None

    def _find_rows(self, connection: sqlite3.Connection) -> None:
        """Find the queues in a file that may be another one: there they have other ids, and so have their messages."""
        for row in self._rows:
            row.id = open_queue(connection, self.path, row.name, row.role, ordered=row.ordered).id
            row.opening = self._opening

    def forked(self) -> None:
        """Let go of all in a forked child, without a call of SQLite: that would touch the parent's locks."""
        connection, self._connection = self._connection, None
        if connection is not None:
            never_close(connection)
        if self._lock is not None:
            self._lock.close()  # this copy alone: the parent's own stays locked

    # Using

    def data_version(self) -> int:
        """Return a number that changes with each commit of another connection, of this or another process."""
        return self.read(lambda connection: int(connection.execute("PRAGMA data_version").fetchall()[0][0]))

    def read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        """Return what `work` reads, outside of a transaction and without the lock. Raises `BackendError`."""
        connection, _, files = self._opened()
        if files.is_check_due():
            files.check(committed=False)
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise backend_error(error, self.path) from error

    def transact(self, work: Callable[[sqlite3.Connection], Result], *, sync: bool = True) -> Result:
        """Do `work` in one transaction, and return its result once that is committed.

        `sync`: and once it is on the disk too, where the durability is "full". Raises `BackendError`, which says by
        `uncertain` whether it may have been committed all the same.
        """
        connection, lock, files = self._opened()
        try:
            with lock:
                if files.is_check_due():
                    files.check(committed=False)
                else:
                    files.check_index()
                # A log that is synced later is synced whole: what was committed without a sync is not overtaken.
                if self.durability == "full":
                    self._sync_next(connection, sync=sync or self._unsynced >= MAX_UNSYNCED)
                connection.execute("BEGIN IMMEDIATE")
                try:
                    if sync and self._gap.is_open(lock):
                        self._gap.close(lock)
                    result = work(connection)
                except BaseException:
                    self._roll_back(connection)
                    raise
                try:
                    self._commit(connection)
                except BackendError as error:
                    self._gap.note(error.__cause__, lock)
                    raise
                if sync or files.is_check_due():
                    files.check(committed=True)
                return result
        except sqlite3.Error as error:
            raise backend_error(error, self.path) from error

    def _sync_next(self, connection: sqlite3.Connection, *, sync: bool) -> None:
        """Have the next commit synced, or not."""
        self._unsynced = 0 if sync else self._unsynced + 1
        if sync is not self._syncs:
            sync_commits(connection, sync=sync)
            self._syncs = sync

    def _commit(self, connection: sqlite3.Connection) -> None:
        give_up_at = time.monotonic() + LOCKED_SECONDS
        while True:
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as error:
                # The transaction is still open then, and all that it did is in it: it is not done again.
                if is_busy(error) and connection.in_transaction and time.monotonic() < give_up_at:
                    time.sleep(0.001)
                    continue
                self._roll_back(connection)
                raise backend_error(error, self.path, committing=True) from error
            return

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        # On a full disk SQLite has rolled back on its own, and a second ROLLBACK is an error.
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                _log.warning("could not roll back a transaction of %s: %s", self.path, error)

    def vacuum(self) -> bool:
        """Give free pages back to the disk, a few at a time; return whether there are more of them."""
        connection, lock, _ = self._opened()
        try:
            return give_back_pages(connection, self._turn(lock))
        except sqlite3.Error as error:
            raise backend_error(error, self.path) from error

    @contextmanager
    def _turn(self, lock: FileLock) -> Generator[None]:
        with lock, self._gap.noted(lock):
            yield

    def _opened(self) -> tuple[sqlite3.Connection, FileLock, FileCheck]:
        if self._broken:
            raise _broken(self.path)
        if self._connection is None and self._lost is not None:
            self._open_again(self._lost)
        if self._connection is None or self._lock is None or self._files is None:
            raise BackendError(f"{self.path} is not open", uncertain=False)
        return self._connection, self._lock, self._files


def _broken(path: str) -> BackendError:
    return BackendError(
        f"the write-ahead log of {path}, or its index, was deleted while this process had it open, and this process "
        f"cannot open it again safely: restart it",
        uncertain=False,
    )
