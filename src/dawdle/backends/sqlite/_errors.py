"""What an error of SQLite means to a caller. By its name, never by its text; no SQL in here."""

import sqlite3
from typing import Final

from dawdle.backends.sqlite._lock_holder import told_holder
from dawdle.errors import BackendError, FaultKind

__all__ = ["FileReplacedError", "backend_error", "error_name", "is_busy"]


class FileReplacedError(BackendError):
    """The database file or its log is no longer the one that this process has open."""


_MEANINGS: Final[dict[str, tuple[FaultKind, str]]] = {
    # the primary error, or an extended one: kind, and what to do
    "SQLITE_BUSY": ("unavailable", "{who} has it locked: {what_to_do}"),
    "SQLITE_BUSY_SNAPSHOT": (
        "unavailable",
        "the transaction began with a read, and others have written since: roll it back, and BEGIN IMMEDIATE",
    ),
    "SQLITE_LOCKED": ("unavailable", "another connection of this process has it locked"),
    "SQLITE_FULL": ("unavailable", "the disk, or the size that the file may have, is full: free some space"),
    "SQLITE_IOERR_SHMSIZE": ("unavailable", "the disk is full: free some space"),
    "SQLITE_READONLY": ("denied", "the file is read-only: let this user write to the file and its directory"),
    "SQLITE_PERM": ("denied", "let this user write to the file and its directory"),
    "SQLITE_CANTOPEN": ("missing", "see that its directory exists, and that this user may write to it"),
    "SQLITE_NOTADB": ("missing", "the file is not a SQLite database: move it away, or name another one"),
    "SQLITE_CORRUPT": ("missing", "the file is damaged: restore it from a backup"),
}


def error_name(error: sqlite3.Error) -> str:
    """Return the error's name, such as `SQLITE_FULL`; empty if Python raised it without SQLite."""
    return getattr(error, "sqlite_errorname", "") or ""


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another connection holds a lock, and the same step may succeed later."""
    return error_name(error).startswith("SQLITE_BUSY")


def backend_error(error: sqlite3.Error, path: str, *, committing: bool = False) -> BackendError:
    """Return the `BackendError` for an error of SQLite.

    `committing`: COMMIT raised it. After an I/O error there, the transaction may have been carried out all the same;
    each other error says that it was not.
    """
    name = error_name(error)
    kind, advice = _meaning(name)
    if "{who}" in advice:
        who, what_to_do = told_holder(path)
        advice = advice.format(who=who, what_to_do=what_to_do)
    uncertain = committing and (name.startswith("SQLITE_IOERR") or not name)
    text = f"SQLite could not use {path}: {error} ({name or type(error).__name__}){advice and '; '}{advice}"
    failed = BackendError(text, kind=kind, uncertain=uncertain)
    failed.__cause__ = error
    return failed


def _meaning(name: str) -> tuple[FaultKind, str]:
    while name:
        if name in _MEANINGS:
            return _MEANINGS[name]
        name = name.rpartition("_")[0]  # SQLITE_BUSY_SNAPSHOT is a SQLITE_BUSY
    return "unavailable", ""
