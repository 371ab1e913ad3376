"""How much memory the processes of a worker use, and which of them use too much. Replaces none."""

import logging
from typing import Final

import psutil

from dawdle.cli.worker._child import Child

__all__ = ["MEASURE_SECONDS", "MemoryLimit", "rss_of"]

_log = logging.getLogger(__name__)

MEASURE_SECONDS: Final = 1.0
"""Seconds from one look at the memory to the next."""

RETRY_SECONDS: Final = 60.0
"""Seconds after which a process is replaced that still uses too much, since its replacement did not start."""

MEGABYTE: Final = 1024 * 1024


def rss_of(child: Child) -> int | None:
    """Return how many bytes of memory a process uses; None if it does not run."""
    if child.pid is None:
        return None
    try:
        return psutil.Process(child.pid).memory_info().rss
    except psutil.Error:  # it has ended just now
        return None


class MemoryLimit:
    """What each process may use."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._first: dict[int, int] = {}
        """What each process used right after its start."""
        self._again_at: dict[int, float] = {}

    def started(self, child: Child) -> None:
        """Note what a process uses that was just started."""
        self._first[child.number] = rss_of(child) or 0

    def ended(self, child: Child) -> None:
        """Forget a process."""
        self._first.pop(child.number, None)
        self._again_at.pop(child.number, None)

    def is_exceeded(self, child: Child, now: float) -> bool:
        """Log that a process uses too much, and return whether it is to be replaced."""
        rss = rss_of(child) or 0
        if rss <= self._limit or now < self._again_at.get(child.number, 0.0):
            return False
        self._again_at[child.number] = now + RETRY_SECONDS
        uses, may_use = f"{rss / MEGABYTE:.0f} MB", f"{self._limit / MEGABYTE:.0f} MB"
        if self._first.get(child.number, 0) > self._limit:
            # Another would use as much, and be replaced at once, and so on.
            self._again_at[child.number] = float("inf")
            _log.error(
                "process %d: pid %s uses %s already at its start, and --max-rss is %s: another would use as much, so "
                "it is not replaced; raise the limit",
                child.place,
                child.pid,
                uses,
                may_use,
            )
            return False
        _log.warning(
            "process %d: pid %s uses %s, and --max-rss is %s: replacing it", child.place, child.pid, uses, may_use
        )
        return True
