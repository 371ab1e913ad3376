"""A lock file that processes take before they write. Knows no SQL.

SQLite alone lets a busy process starve the others: who waits for its lock sleeps, and hardly ever looks in the moment
between two transactions. Measured, the second of two processes got a share of 0.00; with this lock it is 0.8 to 0.99.
A crash of the holder frees the lock: the kernel does.
"""

import os
import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Final

from dawdle.errors import ConfigurationError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["FileLock"]

_WINDOWS_RETRY_SECONDS: Final = 0.002
"""Windows has no lock that waits without an end: between two tries this passes."""


class FileLock:
    """`with lock:` holds it. Used by one thread at a time."""

    def __init__(self, path: str, mode: int | None) -> None:
        """Open the file; create it with the access rights of the database file, or by the umask if that is new too."""
        self.path = path
        self.waiting_since: float | None = None
        """Since when it waits for another process, by `time.monotonic()`; read from any thread."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        is_new = not os.path.exists(path)
        try:
            self._file: int | None = os.open(path, flags, 0o666 if mode is None else mode)
        except OSError as error:
            if is_new:  # the directory is the cause
                raise
            raise ConfigurationError(
                f"cannot open {path}, which dawdle keeps beside the database: {error.strerror or error}; let this user "
                f"read and write that file, as every user of the database"
            ) from error
        if is_new and mode is not None:  # the umask of this process may be stricter than that of the file's owner
            with suppress(OSError):
                os.chmod(path, mode)

    def __enter__(self) -> None:
        assert self._file is not None, "the lock file is open"
        self.waiting_since = time.monotonic()
        if sys.platform == "win32":
            self._wait_on_windows(self._file)
        else:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self.waiting_since = None

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is None:  # a fork has closed it
            return
        if sys.platform == "win32":
            os.lseek(self._file, 0, os.SEEK_SET)
            msvcrt.locking(self._file, msvcrt.LK_UNLCK, 1)
        else:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def has_mark(self) -> bool:
        """Whether a process has left a mark, by `mark`. It stays when the process ends. Only for who holds the lock."""
        assert self._file is not None, "the lock file is open"
        return os.fstat(self._file).st_size > 0

    def mark(self, *, on: bool) -> None:
        """Leave a mark for all processes, or take it away: the file is empty or not. Only for who holds the lock."""
        assert self._file is not None, "the lock file is open"
        os.ftruncate(self._file, 1 if on else 0)

    def close(self) -> None:
        """Close the file. In a forked child too: its copy would keep the lock beyond the end of the parent."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _wait_on_windows(self, file: int) -> None:
        if sys.platform == "win32":
            while True:
                os.lseek(file, 0, os.SEEK_SET)
                try:
                    msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
                except OSError:
                    time.sleep(_WINDOWS_RETRY_SECONDS)
                else:
                    return
