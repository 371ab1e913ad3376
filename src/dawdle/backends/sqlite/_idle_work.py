"""What the worker's thread does while no call comes: it gives space back, and watches for a commit of the caller's."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from dawdle.backends.sqlite._database import Database
from dawdle.errors import BackendError

__all__ = ["IdleWork"]

WATCH_SECONDS: Final = 5.0
"""Seconds for which a caller's own transaction is watched. Committed later, it is noticed by the usual look."""

WATCH_INTERVAL_SECONDS: Final = 0.02
"""Seconds between two looks meanwhile: each takes 2 µs, and the wake-up 50."""

VACUUM_SECONDS: Final = 1.0
"""Seconds without a transaction after which free pages are given back to the disk."""


class IdleWork:
    """The work of an idle thread. `watch` may be called from any thread, everything else from the worker's."""

    def __init__(self, database: Database, notify_others: Callable[[], None]) -> None:
        self._database = database
        self._notify_others = notify_others
        self._watch_until = 0.0
        self._data_version = 0
        self._has_deleted = False
        self._busy_at = 0.0

    def watch(self) -> None:
        """Look often for a while: a caller's transaction has stored something, and its commit sends no signal."""
        self._watch_until = time.monotonic() + WATCH_SECONDS

    def note_transaction(self, *, has_deleted: bool) -> None:
        """Note that the thread was busy just now, and whether there may be free pages since."""
        self._busy_at = time.monotonic()
        self._has_deleted |= has_deleted

    @property
    def seconds(self) -> float | None:
        """How long the thread may sleep before it does this work; None: for ever."""
        if time.monotonic() < self._watch_until:
            return WATCH_INTERVAL_SECONDS
        return VACUUM_SECONDS if self._has_deleted else None

    def do(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if now < self._watch_until:
            self._notice_commit()
        if self._has_deleted and now - self._busy_at >= VACUUM_SECONDS:
            with suppress(BackendError):  # the next call tells its caller
                self._has_deleted = self._database.vacuum()

    def _notice_commit(self) -> None:
        """Tell the other processes of a commit that is not ours."""
        with suppress(BackendError):  # the next call tells its caller
            version = self._database.data_version()
            if version != self._data_version:
                self._data_version = version
                self._notify_others()
