"""When a handler that failed is tried again. Values in, seconds out."""

from math import inf, isfinite
from typing import Any, cast

import msgspec

from dawdle.errors import ConfigurationError

__all__ = ["Retry"]


class Retry(msgspec.Struct, frozen=True):
    """How often a handler is tried, and how long it waits in between.

    The wait after attempt n is `initial * factor ** (n - 1)` seconds, at most `max_delay`, less a random part of
    up to `jitter` of it, so that what failed together does not come back together.

    - `max_attempts`: 1 or more; the event is dead-lettered when the last one has failed.
    - `initial`, `max_delay`: seconds, 0 or more.
    - `factor`: 1 or more.
    - `jitter`: a share from 0 (none) to 1.

    Raises `ConfigurationError` for anything else.
    """

    max_attempts: int = 5
    initial: float = 5.0
    factor: float = 2.0
    max_delay: float = 900.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        _require("max_attempts", self.max_attempts, 1, inf, whole=True)
        _require("initial", self.initial, 0, inf)
        _require("factor", self.factor, 1, inf)
        _require("max_delay", self.max_delay, 0, inf)
        _require("jitter", self.jitter, 0, 1)

    def backoff(self, attempt: int, roll: float) -> float:
        """Return the seconds to wait after `attempt` (from 1) failed; `roll` is a random number in [0, 1)."""
        try:
            grown = self.initial * self.factor ** (attempt - 1)
        except OverflowError:
            grown = inf
        return min(grown, self.max_delay) * (1.0 - self.jitter * roll)


def _require(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not isfinite(cast("Any", value)) or not low <= cast("float", value) <= high:
        span = f"from {low:g} to {high:g}" if high < inf else f"of {low:g} or more"
        raise ConfigurationError(f"Retry({name}=…) takes a {'whole ' if whole else ''}number {span}, not {value!r}")
