"""Repairs the log after a sync of it has failed. The one place that writes to a file of SQLite's by itself.

A system tells of a failed sync once, and then takes the pages for written. A claim is committed without a sync, so its
pages may be among them; what is committed and synced after it is found only up to that gap when the power has failed.
"""

import os
import sys
from typing import Final

if sys.platform == "darwin":
    import fcntl

__all__ = ["write_log_again"]

_PART_BYTES: Final = 1 << 20


def write_log_again(path: str) -> None:
    """Write the log of a SQLite file as the system has it in memory, and sync it. Raises `OSError`.

    Call it in a write transaction, so that no connection adds to the log meanwhile. SQLite holds locks on the database
    and on the index of the log, and none on the log: to close another descriptor of it drops nothing.
    """
    with open(f"{path}-wal", "r+b", buffering=0) as log:
        at = 0
        while part := log.read(_PART_BYTES):
            log.seek(at)
            at += log.write(part)
            log.seek(at)
        os.fsync(log.fileno())
        if sys.platform == "darwin":
            fcntl.fcntl(log.fileno(), fcntl.F_FULLFSYNC)
