"""Every error that dawdle raises, and the two that a handler raises to steer its own retry.

::

    DawdleError
    ├── ConfigurationError (ValueError)      what was written cannot work; raised before anything is stored
    │   └── NoAppError (RuntimeError)        dawdle.signal() cannot tell which app is meant
    ├── EventError (ValueError)              this event cannot be signaled, or this message cannot be read
    │   ├── NotAnEventError (TypeError)      the value is of no type that can travel
    │   └── EventTooLargeError               it is larger than the queue takes; .size and .limit in bytes
    ├── SignalError                          not every event is stored; .ids, .stored, .not_stored, .uncertain, .failed
    ├── BackendError                         the queue cannot be reached or refuses; .kind, .retryable, .uncertain
    ├── Reject                               a handler: never try again, dead-letter this now
    └── RetryLater                           a handler: not yet, try again in .seconds
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Final, Literal

__all__ = [
    "BackendError",
    "ConfigurationError",
    "DawdleError",
    "EventError",
    "EventTooLargeError",
    "FaultKind",
    "NoAppError",
    "NotAnEventError",
    "Reject",
    "RetryLater",
    "SignalError",
]


FaultKind = Literal["lost", "refused", "throttled", "denied", "missing", "unavailable"]
"""What a queue answered instead of yes.

`lost`: the receipt no longer holds its message. `refused`: this entry will never be taken. `throttled`: asked
too often. `denied`: credentials or permission. `missing`: no such queue. `unavailable`: the network, the
server, or anything else that may pass.
"""


MAX_SHOWN_CHARACTERS: Final = 200
"""Characters of a wrong value in a message."""


class DawdleError(Exception):
    """The root of all errors of dawdle."""


class ConfigurationError(DawdleError, ValueError):
    """What was written cannot work: an option, a handler, a name. Nothing was stored."""


class NoAppError(ConfigurationError, RuntimeError):
    """`dawdle.signal()` was called where no app is entered, or more than one is."""


class EventError(DawdleError, ValueError):
    """An event that cannot travel, or a message that cannot be read back as one."""


class NotAnEventError(EventError, TypeError):
    """The value is not a msgspec Struct, a dataclass, an attrs class or a pydantic model."""


class EventTooLargeError(EventError):
    """The event is larger than its queue takes. `size` and `limit` are in bytes."""

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class SignalError(DawdleError):
    """Not every event is stored, or not every one is known to be.

    - `ids`: the id that each event was given, in the order of the events. Each is in one of the next three.
    - `stored`: the ids of the events that the queue has stored.
    - `not_stored`: those that it has not: no credentials, access denied, no such queue, too large, no connection. To
      signal them again cannot store any of them twice.
    - `uncertain`: those that may or may not be stored: the connection broke after the request was sent, or no answer
      came in time. Signaled again, they may be handled twice; with the same `id=`, a handler can tell by its event id.
    - `failed`: maps each id of the last two to its error.
    """

    def __init__(self, message: str, *, ids: Sequence[str], failed: Mapping[str, Exception]) -> None:
        super().__init__(message)
        self.ids = tuple(ids)
        self.stored = tuple(each for each in ids if each not in failed)
        self.uncertain = tuple(each for each in ids if each in failed and may_have_been_done(failed[each]))
        self.not_stored = tuple(each for each in ids if each in failed and not may_have_been_done(failed[each]))
        self.failed = dict(failed)


class BackendError(DawdleError):
    """A queue could not be reached, or refused: `kind` says which.

    `retryable` says whether the same call can succeed later without anyone changing it. `uncertain` says whether the
    call may have been carried out all the same: the request was sent, or may have been, and no answer says what came of
    it. Without it only what is `unavailable` is uncertain; each of the other kinds is an answer, and the answer is no.
    """

    def __init__(self, message: str, *, kind: FaultKind = "unavailable", uncertain: bool | None = None) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.uncertain: bool = is_uncertain(kind, uncertain)

    @property
    def retryable(self) -> bool:
        """Whether the same call can succeed later without anyone changing it."""
        return self.kind not in {"lost", "refused"}


def is_uncertain(kind: FaultKind, uncertain: bool | None) -> bool:
    """Return whether a call may have been carried out all the same: as given, else as the kind says."""
    return kind == "unavailable" if uncertain is None else uncertain


def may_have_been_done(error: Exception) -> bool:
    """Return whether a call that failed so may have been carried out; of a foreign error nothing is known."""
    return not isinstance(error, BackendError) or error.uncertain


class Reject(DawdleError):  # noqa: N818 - a verdict that a handler raises, not a failure
    """Raise it in a handler to dead-letter its event at once: `raise Reject("the account is closed")`."""


class RetryLater(DawdleError):  # noqa: N818 - a verdict that a handler raises, not a failure
    """Raise it in a handler that cannot act yet: `raise RetryLater(30)`.

    The handler gets its event again after `seconds`, a number or a timedelta; the attempt is not counted. Raises
    `ConfigurationError` for what is neither, and the handler has failed then.
    """

    def __init__(self, seconds: float | timedelta) -> None:
        self.seconds = to_seconds(seconds, "RetryLater takes")
        super().__init__(f"not before {self.seconds:g} s")


def one_line(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """Return text that a stranger may have written as one line of a log, a repr or an error shows it.

    Line breaks, control characters and what turns the direction of writing become escapes, and what is over `limit`
    characters is cut: no line of a log can be forged by it, no terminal steered, and no disk filled.
    """
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)


def shown(value: object) -> str:
    """Return a wrong value as an error's message shows it; an int of 5,000 digits, for one, cannot be printed."""
    try:
        return one_line(repr(value))
    except Exception:  # noqa: BLE001 - the error that is being told is another one
        return f"a {type(value).__qualname__} that cannot be shown"


def require_bool(value: object, what: str) -> bool:
    """Return a value that is True or False; text such as "no" is neither, and would count as yes.

    Raises `ConfigurationError` that begins with `what`, such as "direct is".
    """
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{what} True or False, not {shown(value)}")


def to_seconds(
    value: object, what: str, *, least: float = 0.0, most: float = sys.float_info.max, above: bool = False
) -> float:
    """Return a duration in seconds: of a number, or of a `timedelta`. The one way in for all that a caller may give.

    `least` and `most` bound it, both included, `least` not where it must lie `above` it; a `most` of `inf` lets it be
    endless. Raises `ConfigurationError` that begins with `what`, such as "grace is".
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
        holds = isinstance(seconds, float) or seconds <= sys.float_info.max  # a larger int cannot be a float
        if holds and least <= seconds <= most and not (above and seconds == least):
            return float(seconds)
    if most in {inf, sys.float_info.max}:
        span = f"more than {least:g}" if above else f"{least:g} or more"
    else:
        span = f"{least:g} to {most:,.15g}"
    # A timedelta shows itself in days, also where it is seconds.
    text = f"timedelta(seconds={seconds:g})" if isinstance(value, timedelta) else shown(value)
    raise ConfigurationError(f"{what} {span} seconds, or a timedelta, not {text}")
