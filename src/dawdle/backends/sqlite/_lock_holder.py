"""Tells which process keeps a file locked, by Linux's list of all locks. Takes no lock, and opens no database."""

import os
from typing import Final

__all__ = ["holder_of", "told_holder"]

_WRITE_BYTE: Final = 120
"""The byte of the log's index that a connection locks while it writes (sqlite.org/walformat.html)."""


def holder_of(path: str, locks: str = "/proc/locks") -> int | None:
    """Return the process that has a SQLite file locked: by a transaction, or by dawdle's lock file.

    None where that cannot be told: on other systems than Linux, and for a process of another container.
    """
    try:
        with open(locks, encoding="ascii", errors="replace") as lines:
            held = [line.split() for line in lines if "->" not in line]  # an arrow: it waits
    except OSError:
        return None
    writes, has_turn = _holder(held, f"{path}-shm", _WRITE_BYTE), _holder(held, f"{path}-lock", 0)
    return writes or (None if has_turn == os.getpid() else has_turn)  # in its own turn this process waits for others


def _holder(held: list[list[str]], path: str, byte: int) -> int | None:
    """Return who has a byte of a file locked. By the inode alone: some file systems give two device numbers."""
    try:
        inode = str(os.stat(path).st_ino)
    except OSError:
        return None
    for fields in held:  # 1: POSIX ADVISORY WRITE 4711 fe:00:1234 120 120
        if len(fields) < 8 or fields[3] != "WRITE" or fields[5].rpartition(":")[2] != inode:
            continue
        first, last, process = fields[6], fields[7], fields[4]
        # A lock of an open file, or of a process in another container, has no number of a process.
        if int(first) <= byte and (last == "EOF" or byte <= int(last)) and int(process) > 0:
            return int(process)
    return None


def told_holder(path: str) -> tuple[str, str]:
    """Return who has a file locked, for an error's text, and what to do about it."""
    holder = holder_of(path)
    own = "if your code has a transaction open, pass it, signal(…, transaction=connection), or commit first"
    if holder == os.getpid():
        return "another connection of this process", own
    if holder is not None:
        return f"process {holder}", "keep its transactions short, and see that it is not stopped, as by a debugger"
    either = f"{own}; else see whether a process has one open for long, or is stopped, as by a debugger"
    return "another connection, of this process or of another one", either
