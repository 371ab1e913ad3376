"""When a handler that failed is tried again. Values in, seconds out."""

import sys
from math import inf
from typing import Final, cast

import msgspec

from dawdle.errors import ConfigurationError, shown

__all__ = ["MOST_ATTEMPTS", "Retry"]

MOST_ATTEMPTS: Final = 2**31 - 1
"""What `dawdleattempt` can say: an integer of CloudEvents has 32 bits."""

_LARGEST: Final = sys.float_info.max


class Retry(msgspec.Struct, frozen=True):
    """How often a handler is tried, and how long it waits in between.

    The wait after attempt n is `initial * factor ** (n - 1)` seconds, at most `max_delay`, less a random part of
    up to `jitter` of it, so that what failed together does not come back together.

    - `max_attempts`: 1 to 2,147,483,647; the event is dead-lettered when the last one has failed.
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
        _require("max_attempts", self.max_attempts, 1, MOST_ATTEMPTS, whole=True)
        _require("initial", self.initial, 0, _LARGEST)
        _require("factor", self.factor, 1, _LARGEST)
        _require("max_delay", self.max_delay, 0, _LARGEST)
        _require("jitter", self.jitter, 0, 1)

    def backoff(self, attempt: int, roll: float) -> float:
        """Return the seconds to wait after `attempt` (from 1) failed; `roll` is a random number in [0, 1)."""
        try:  # in floats: the power of an int has as many digits as it takes, and that takes as long
            grown = self.initial * float(self.factor) ** (attempt - 1)
        except OverflowError:
            grown = inf if self.initial else 0.0
        return min(grown, self.max_delay) * (1.0 - self.jitter * roll)


def _require(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not low <= cast("float", value) <= high:
        span = f"of {low:g} or more" if high == _LARGEST else f"from {low:g} to {high:,}"
        raise ConfigurationError(
            f"Retry({name}=…) takes a {'whole ' if whole else ''}number {span}, not {shown(value)}"
        )
