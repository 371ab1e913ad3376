"""One connection to a file, as dawdle sets it up, and how it is closed when the files may not be ours any more."""

import sqlite3
import sys
from contextlib import AbstractContextManager
from typing import Final, Literal

from dawdle.backends.sqlite._file_check import FileCheck
from dawdle.errors import ConfigurationError

__all__ = ["Durability", "close_unchecked", "connect", "give_back_pages", "never_close", "sync_commits"]

Durability = Literal["full", "normal"]

MAX_LOG_BYTES_AT_REST: Final = 8 << 20
CHECKPOINT_PAGES: Final = 1000
VACUUM_PAGES: Final = 1000


def connect(path: str, durability: Durability, timeout: float) -> sqlite3.Connection:
    """Return a connection with a write-ahead log, whose commits are synced if the durability is "full".

    `timeout`: seconds that it waits for a lock. Raises `ConfigurationError` where there can be no such log.
    """
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=timeout, cached_statements=256
    )
    try:
        _set_up(connection, path, durability)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, path: str, durability: Durability) -> None:
    # Of a new file only, and before its first table: later it needs a VACUUM, which is the owner's to run.
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    ((mode,),) = connection.execute("PRAGMA journal_mode=WAL").fetchall()
    if mode != "wal":
        raise ConfigurationError(
            f"{path} cannot have a write-ahead log: its journal mode stays {mode}. Its file system has no shared "
            f"memory; put it on a local disk"
        )
    connection.execute(f"PRAGMA synchronous={durability}")
    if sys.platform == "darwin" and durability == "full":
        connection.execute("PRAGMA fullfsync=1")  # there a plain fsync does not reach the disk
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit={MAX_LOG_BYTES_AT_REST}")
    connection.execute("PRAGMA cache_size=-8000")


def sync_commits(connection: sqlite3.Connection, *, sync: bool) -> None:
    """Have the next commits synced, or not."""
    connection.execute(f"PRAGMA synchronous={'FULL' if sync else 'NORMAL'}")
    # The log is emptied only after commits that are synced. Its own sync has nothing to write then: if that fails,
    # which SQLite does not tell, it leaves no gap.
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES if sync else 0}")


def give_back_pages(connection: sqlite3.Connection, turn: AbstractContextManager[None]) -> bool:
    """Give free pages back to the disk, a few at a time, each in its `turn`; return whether there are more of them."""
    ((free,),) = connection.execute("PRAGMA freelist_count").fetchall()
    ((pages,),) = connection.execute("PRAGMA page_count").fetchall()
    ((mode,),) = connection.execute("PRAGMA auto_vacuum").fetchall()
    with turn:
        if mode != 2 or free < VACUUM_PAGES or free * 4 < pages:
            # Only now the file is cut. A reader that holds the log does not make this wait.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            return False
        # By execute() it would give back one page: that stops at the first row, and it has one for each page.
        connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
        return True


def close_unchecked(connection: sqlite3.Connection, files: FileCheck) -> bool:
    """Close a connection to files that others may have replaced, without touching what is there now.

    Return whether it was closed. One that stays open shares its locks and its index of the log with any other that this
    process opens, so the file must not be opened again then.
    """
    # A close moves the log into the database and deletes the log by its name. SQLite does not where the database itself
    # was moved. Where only the log was deleted it would, and so destroy the log that another process has made since.
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE)
        connection.close()
    elif files.is_moved:
        connection.close()
    else:
        never_close(connection)
        return False
    return files.is_moved or not files.is_old_index_in_use


def never_close(connection: sqlite3.Connection) -> None:
    """Keep a connection for as long as the process lives, even while the interpreter ends and deletes all others."""
    import ctypes  # noqa: PLC0415 - only a forked child, or a file that was replaced, needs it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
