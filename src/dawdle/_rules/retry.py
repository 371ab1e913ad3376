"""Decides when a failed handler is tried again. Values in, seconds out; waits and counts nothing."""

from collections.abc import Iterable
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Final, TypeGuard, cast

import msgspec

from dawdle.errors import ConfigurationError, RetryLater, shown, to_seconds

__all__ = ["MAX_ATTEMPTS", "Retry"]

MAX_ATTEMPTS: Final = 2**31 - 1
"""The largest `dawdleattempt`: an integer of CloudEvents has 32 bits."""

_LARGEST: Final = 1.7976931348623157e308
"""The largest float."""


class Retry(msgspec.Struct, frozen=True):
    """How often a handler is tried, and how long it waits in between.

    The wait after attempt n is `initial * factor ** (n - 1)` seconds, at most `max_delay`, less a random part of up to
    `jitter` of it, so that events that failed together do not come back together.

    - `max_attempts`: 1 to 2,147,483,647; the event is dead-lettered when the last one has failed.
    - `initial`, `max_delay`: seconds, 0 or more, or a timedelta.
    - `factor`: 1 or more.
    - `jitter`: a share from 0 (none) to 1.
    - `never`: exception types that are final, subclasses included: no later try can succeed, so the event is
      dead-lettered at once. One inside an ExceptionGroup counts too.

    With the defaults the eleven waits are together 2 h 25 min at most, 1 h 49 min on average, and 1 h 12 min at least.

    Raises `ConfigurationError` for anything else.
    """

    max_attempts: int = 12
    initial: float = 5.0
    factor: float = 2.0
    max_delay: float = 3600.0
    jitter: float = 0.5
    never: tuple[type[Exception], ...] = ()

    if TYPE_CHECKING:

        def __init__(
            self,
            max_attempts: int = 12,
            initial: float | timedelta = 5.0,
            factor: float = 2.0,
            max_delay: float | timedelta = 3600.0,
            jitter: float = 0.5,
            never: Iterable[type[Exception]] = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        _require("max_attempts", self.max_attempts, 1, MAX_ATTEMPTS, whole=True)
        for name in ("initial", "max_delay"):
            msgspec.structs.force_setattr(self, name, to_seconds(getattr(self, name), f"Retry({name}=…) takes"))
        _require("factor", self.factor, 1, _LARGEST)
        _require("jitter", self.jitter, 0, 1)
        msgspec.structs.force_setattr(self, "never", _types_of(self.never))

    def backoff(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after `attempt` (from 1) failed; `random` is in [0, 1)."""
        try:  # in floats: a power of an int has all of its digits, and takes as long to compute
            grown = self.initial * float(self.factor) ** (attempt - 1)
        except OverflowError:
            grown = inf if self.initial else 0.0
        return min(grown, self.max_delay) * (1.0 - self.jitter * random)


def _types_of(never: object) -> tuple[type[Exception], ...]:
    """Return the types of `never=`, each once. Raises `ConfigurationError`."""
    given = [never] if issubclass(type(never), type) else never
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise ConfigurationError(f"Retry(never=…) takes exception types, such as (ValueError,), not {shown(never)}")
    types = tuple(dict.fromkeys(cast("Iterable[object]", given)))
    for each in types:
        if not _is_failure(each):
            raise ConfigurationError(f"Retry(never=…) takes exception types, such as (ValueError,), not {shown(each)}")
        if issubclass(each, RetryLater):
            raise ConfigurationError(
                f"Retry(never=…) takes failures, and {each.__qualname__} is none: it asks for a later try"
            )
    return cast("tuple[type[Exception], ...]", types)


def _is_failure(value: object) -> TypeGuard[type[Exception]]:
    return isinstance(value, type) and issubclass(value, Exception)


def _require(name: str, value: object, low: float, high: float, *, whole: bool = False) -> None:
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not low <= cast("float", value) <= high:
        span = f"of {low:g} or more" if high == _LARGEST else f"from {low:g} to {high:,}"
        raise ConfigurationError(
            f"Retry({name}=…) takes a {'whole ' if whole else ''}number {span}, not {shown(value)}"
        )
