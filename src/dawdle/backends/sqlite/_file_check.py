"""Looks at the files about a database without opening them: whether they are still ours, and where they lie.

They must not be opened to look: closing any descriptor of a file drops the locks that SQLite holds on it.
"""

import os
import re
import sqlite3
import sys
import time
from typing import Final

from dawdle._log import Log
from dawdle.backends.sqlite._errors import FileReplacedError
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["FileCheck", "require_file_of_log", "require_local_file_system", "require_one_name", "warn_of_wal_reset_bug"]

_log = Log(__name__)

CHECK_SECONDS: Final = 0.05
"""Seconds for which a check holds for what need not be safe. One takes 2 to 14 µs."""

LARGE_LOG_BYTES: Final = 64 << 20
"""Bytes of the write-ahead log from which on a warning is logged: it is 4 MB as a rule."""

_NETWORK_FILE_SYSTEMS: Final = frozenset(
    {"9p", "afs", "ceph", "cifs", "fakeowner", "gfs2", "glusterfs", "lustre", "nfs", "nfs4", "ocfs2", "smb2", "smb3"}
    | {"smbfs", "virtiofs"}
)
"""File systems, and the ways that a virtual machine shares a directory, whose locks SQLite cannot rely on."""


class FileCheck:
    """Remembers the files that the connection has open, and tells when others are in their place."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._log_path = f"{path}-wal"
        self._index_path = f"{path}-shm"
        self._file = os.stat(path)
        self._index = _inode_of(self._index_path)
        self._log_file: os.stat_result | None = None
        self._warned = False
        self._checked_at = 0.0

    def is_check_due(self) -> bool:
        """Whether the last check was a while ago. What stores or deletes is followed by one all the same."""
        return time.monotonic() - self._checked_at > CHECK_SECONDS

    def check(self, *, committed: bool) -> None:
        """Raise `FileReplacedError` if the database or its log was deleted or replaced.

        `committed`: a transaction was committed just now, and may have gone into files that are read no more.
        """
        self._checked_at = time.monotonic()
        try:
            file, log_file = os.stat(self._path), os.stat(self._log_path)
        except OSError:
            raise self._replaced("is gone", committed=committed) from None
        known = self._log_file
        if known is None:
            known = self._log_file = log_file
        if (file.st_ino, file.st_dev) != (self._file.st_ino, self._file.st_dev):
            raise self._replaced("was replaced by another file", committed=committed)
        if (log_file.st_ino, log_file.st_dev) != (known.st_ino, known.st_dev):
            raise self._replaced("has another write-ahead log", committed=committed)
        # Not after a commit: the next process that opens the file finds that in the log, and makes an index by it.
        if not committed and _inode_of(self._index_path) != self._index:
            raise self._replaced("has another index of its log, or none,", committed=False)
        if log_file.st_size > LARGE_LOG_BYTES:
            self._warn_of_large_log(log_file.st_size)
        else:
            self._warned = False

    def check_index(self) -> None:
        """Raise `FileReplacedError` if the index of the log was deleted or replaced. Before each transaction: 0.8 µs.

        A process that opens the file then makes an index of its own. Two writers do not see each other's frames in the
        log, and a single transaction may damage it.
        """
        if _inode_of(self._index_path) != self._index:
            self.check(committed=False)  # with the rest of it, to say what has happened

    @property
    def is_old_index_in_use(self) -> bool:
        """Whether this process may still use the index that it had open, by another connection to the file."""
        if _inode_of(self._index_path) == self._index:
            return False
        try:
            with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
                return any(line.rstrip("\n").endswith(f"{self._index_path} (deleted)") for line in maps)
        except OSError:  # this system does not tell
            return True

    def _replaced(self, what: str, *, committed: bool) -> FileReplacedError:
        lost = "what was just stored may be lost" if committed else "nothing was stored"
        return FileReplacedError(
            f"{self._path} {what} while this process had it open; {lost}. Stop all programs that use a database before "
            f"it is moved, deleted or restored, and let no program but SQLite copy or delete its -wal and -shm files",
            kind="unavailable",
            uncertain=committed,
        )

    @property
    def is_moved(self) -> bool:
        """Whether the database file itself, not only its log, is another one or gone."""
        try:
            file = os.stat(self._path)
        except OSError:
            return True
        return (file.st_ino, file.st_dev) != (self._file.st_ino, self._file.st_dev)

    def require_own_log(self) -> None:
        """Raise `BackendError` while another file, or none, lies beside the log of this one."""
        # SQLite would put the pages of that log into the other file, or delete it where there is none.
        known = self._log_file
        try:
            log_file = os.stat(self._log_path)
        except OSError:
            return
        if known is not None and (log_file.st_ino, log_file.st_dev) == (known.st_ino, known.st_dev) and self.is_moved:
            raise BackendError(
                f"{self._path} was moved or replaced, and {self._log_path} is still the log of the file before it: put "
                f"that file back, or, to use what lies there now, delete {self._log_path} and {self._path}-shm",
                uncertain=False,
            )

    def _warn_of_large_log(self, size: int) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "the write-ahead log of %s has grown to %d MB: a program holds a read transaction open, and the log "
                "cannot be emptied until that ends; close its cursors and transactions",
                self._path,
                size >> 20,
            )


def _inode_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_dev


def require_file_of_log(path: str) -> None:
    """Raise `ConfigurationError` if there is a log and no file: SQLite would delete it, and what it alone holds."""
    if not os.path.exists(path) and os.path.exists(f"{path}-wal") and os.stat(f"{path}-wal").st_size:
        raise ConfigurationError(
            f"{path} is missing, and {path}-wal, its log, is there and may hold messages: put the file back where it "
            f"was; or, to begin with a new one, delete {path}-wal and {path}-shm"
        )


def require_one_name(path: str, mounts: str = "/proc/self/mountinfo") -> None:
    """Raise `ConfigurationError` for a file that has another path too: who opens it by that one has another log."""
    names = os.stat(path).st_nlink if os.path.isfile(path) else 1
    if names > 1:
        raise ConfigurationError(
            f"{path} has {names} names, by hard links: a program that opens it by another one does not see its log, "
            f"and damages it. Delete the other names, or copy the file (VACUUM INTO) instead of linking it"
        )
    if any(point == path for point, _ in _mounts_in(mounts)):
        raise ConfigurationError(
            f"{path} is mounted by itself: its log, beside it, is not shared, and two containers that have it mounted "
            f"damage it. Mount the directory that it is in"
        )


def require_local_file_system(path: str, *, allowed: bool) -> None:
    """Raise `ConfigurationError` where a file lies on a network file system, unless that is allowed. Linux only."""
    kind = None if allowed else file_system_of(path)
    if kind in _NETWORK_FILE_SYSTEMS or (kind is not None and kind.startswith("fuse.")):
        raise ConfigurationError(
            f"{path} lies on {kind}, whose file locks SQLite cannot rely on: two processes may damage the database. "
            f"Put it on a local disk (in Docker: a named volume, not a directory of the host). If only one machine "
            f"uses it, you may pass allow_network_file_system=True"
        )


def file_system_of(path: str, mounts: str = "/proc/self/mountinfo") -> str | None:
    """Return the type of the file system that a path lies on; None where this system does not tell."""
    if not sys.platform.startswith("linux"):
        return None
    directory = os.path.realpath(os.path.dirname(path) or ".")
    best, kind = "", None
    for point, its_kind in _mounts_in(mounts):
        inside = directory == point or directory.startswith(point.rstrip("/") + "/")
        # Of two on one point, the later hides the earlier.
        if inside and len(point) >= len(best):
            best, kind = point, its_kind
    return kind


def _mounts_in(mounts: str) -> list[tuple[str, str]]:
    """Return what is mounted where: the path and the type of each file system; nothing where this system lacks that."""
    found: list[tuple[str, str]] = []
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                mount, _, source = line.partition(" - ")
                # A space in it is written as \040.
                point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4])
                found.append((point, source.split(" ")[0]))
    except (OSError, IndexError, ValueError):
        return []
    return found


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether this SQLite may skip a committed transaction when a writer and a checkpoint meet (3.7.0 to 3.51.2)."""
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return not fixed


def warn_of_wal_reset_bug(path: str) -> None:
    """Log one line where this build of SQLite has the bug."""
    if has_wal_reset_bug(sqlite3.sqlite_version_info):
        _log.info(
            "%s is safe among processes of dawdle, which take turns. By a bug of SQLite %s (WAL-reset) another program "
            "that writes to it may damage it: set PRAGMA wal_autocheckpoint=0 on its connections, or use SQLite 3.51.3",
            path,
            sqlite3.sqlite_version,
        )
