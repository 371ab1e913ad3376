"""The gap that a failed sync may leave in the log, and how it is closed. Nothing else writes to SQLite's files itself.

A system tells of a failed sync once, and then takes the pages for written. A claim is committed without a sync, so its
pages may be among them; what is committed and synced after it is found only up to that gap when the power has failed.
"""

import os
import sqlite3
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

from dawdle._log import Log
from dawdle.backends.sqlite._errors import error_name
from dawdle.backends.sqlite._file_lock import FileLock
from dawdle.errors import BackendError

if sys.platform == "darwin":
    import fcntl

__all__ = ["LogGap"]

_log = Log(__name__)

_PART_BYTES: Final = 1 << 20


class LogGap:
    """Whether the log of a file may have a gap. A mark in the lock file tells all processes, also those to come."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_open = False  # the mark may be impossible to leave on such a disk

    def is_open(self, lock: FileLock) -> bool:
        """Whether there may be one."""
        return self._is_open or lock.has_mark

    @contextmanager
    def noted(self, lock: FileLock) -> Generator[None]:
        """Note a sync that fails in here."""
        try:
            yield
        except sqlite3.Error as error:
            self.note(error, lock)
            raise

    def note(self, error: BaseException | None, lock: FileLock) -> None:
        """Note an error, if it may be that of a sync."""
        if isinstance(error, sqlite3.Error) and error_name(error).startswith("SQLITE_IOERR"):
            self._is_open = True
            with suppress(OSError):
                lock.mark(on=True)

    def close(self, lock: FileLock) -> None:
        """Close it, in a write transaction. Until that is done, nothing is told to be stored. Raises `BackendError`."""
        try:
            _write_again(f"{self._path}-wal")
            lock.mark(on=False)
        except OSError as error:
            raise BackendError(
                f"a sync of {self._path} failed, and its log could not be written again: {error.strerror or error}; "
                f"nothing was stored. See whether the disk fails",
                uncertain=False,
            ) from error
        self._is_open = False
        _log.warning("wrote the log of %s again after a sync of it had failed: see whether the disk fails", self._path)


def _write_again(path: str) -> None:
    """Write a log as the system has it in memory, and sync it, while no connection adds to it."""
    # SQLite holds locks on the database and on the index of the log, and none on the log itself: to close another
    # descriptor of it drops nothing.
    with open(path, "r+b", buffering=0) as log:
        at = 0
        while part := log.read(_PART_BYTES):
            log.seek(at)
            at += log.write(part)
            log.seek(at)
        os.fsync(log.fileno())
        if sys.platform == "darwin":
            fcntl.fcntl(log.fileno(), fcntl.F_FULLFSYNC)
