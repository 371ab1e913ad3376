"""Every error that dawdle raises, and the two that a handler raises to decide about its own retry. Nothing else.

::

    DawdleError
    ├── ConfigurationError (ValueError)      an option, a handler or a name cannot work; nothing was stored
    │   └── NoAppError (RuntimeError)        dawdle.signal() cannot tell which app is meant
    ├── EventError (ValueError)              this event cannot be signaled, or this message cannot be read
    │   ├── NotAnEventError (TypeError)      the value is of no type that can travel, or no registered function
    │   ├── ArgumentError (TypeError)        a function cannot be called with these arguments
    │   └── EventTooLargeError               it is larger than the queue takes; .size and .limit in bytes
    ├── SignalError                          not every event is stored; .ids, .stored, .not_stored, .uncertain, .failed
    ├── BackendError                         the queue does not answer, or refuses; .kind, .retryable, .uncertain
    ├── Reject                               raised by a handler: dead-letter this event now, without another try
    └── RetryLater                           raised by a handler: try again in .seconds
"""

import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from math import inf
from typing import Final, Literal, TypeVar

__all__ = [
    "ArgumentError",
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


V = TypeVar("V")

FaultKind = Literal["lost", "refused", "throttled", "denied", "missing", "unavailable"]
"""Why a queue did not carry out a call.

`lost`: the lease is over and the receipt no longer holds its message. `refused`: the request itself is wrong and would
be refused again. `throttled`: too many requests. `denied`: credentials or a permission are missing. `missing`: there is
no such queue. `unavailable`: the network, the server, or anything else that may pass.
"""


MAX_SHOWN_CHARACTERS: Final = 200
"""Characters of a wrong value in an error's text."""


class DawdleError(Exception):
    """The base class of all errors of dawdle. Each can be pickled, if what it holds can be."""

    def __reduce__(self) -> tuple[object, ...]:
        # Python would call the class with the message alone, and several take more: such an error could be pickled, and
        # not be read back. So the class is not called, and the attributes are set as they were.
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(error_type: type[DawdleError], arguments: tuple[object, ...]) -> DawdleError:
    """Return an error as it was when it was pickled, but for its attributes, which pickle sets."""
    return error_type.__new__(error_type, *arguments)


class ConfigurationError(DawdleError, ValueError):
    """An option, a handler or a name cannot work as it is written. Nothing was stored."""


class NoAppError(ConfigurationError, RuntimeError):
    """`dawdle.signal()` was called where no app is entered, or where several are."""


class EventError(DawdleError, ValueError):
    """An event cannot be stored as it is, or a message cannot be read as an event."""


class NotAnEventError(EventError, TypeError):
    """The value is not a msgspec Struct, a dataclass, an attrs class or a pydantic model; or no registered function."""


class ArgumentError(EventError, TypeError):
    """A function cannot be called with these arguments: one is missing, not expected, or of another type."""


class EventTooLargeError(EventError):
    """The event is larger than its queue takes. `size` and `limit` are in bytes."""

    def __init__(self, message: str, *, size: int, limit: int) -> None:
        super().__init__(message)
        self.size = size
        self.limit = limit


class SignalError(DawdleError):
    """Some events are not stored, or may not be.

    - `ids`: the id of each event, in the order of the events. Each id is in one of the next three.
    - `stored`: ids of the events that the queue has stored.
    - `not_stored`: ids of the events that it has not stored: no credentials, access denied, no such queue, too large,
      no connection. Signaling them again cannot store one of them twice.
    - `uncertain`: ids of the events that may or may not be stored: the connection broke after the request was sent, or
      no answer came in time. Signaled again, they may be handled twice; with the same `id=`, a handler can tell by its
      event id.
    - `failed`: maps each id of the last two to its error.
    - `stored_in`: maps the id of each event of several queues that only some of them have stored to the names of these.
      It is among the `uncertain`: signaled again, these queues store it twice.
    """

    def __init__(
        self,
        message: str,
        *,
        ids: Sequence[str],
        failed: Mapping[str, Exception],
        stored_in: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(message)
        self.stored_in = {each: tuple(queues) for each, queues in (stored_in or {}).items()}
        self.ids = tuple(ids)
        self.stored = tuple(each for each in ids if each not in failed)
        self.uncertain = tuple(each for each in ids if each in failed and may_have_been_done(failed[each]))
        self.not_stored = tuple(each for each in ids if each in failed and not may_have_been_done(failed[each]))
        self.failed = dict(failed)


class BackendError(DawdleError):
    """A queue did not answer, or refused a call.

    - `kind`: why, see `dawdle.errors.FaultKind`: `lost`, `refused`, `throttled`, `denied`, `missing` or `unavailable`.
    - `retryable`: whether the same call may succeed later, such as when the network or a permission is back.
    - `uncertain`: whether the call may have been carried out all the same: the request was sent, or may have been, and
      no answer says what became of it. If the backend does not say, `unavailable` is uncertain and the other kinds are
      not, since each of them is an answer.
    """

    def __init__(self, message: str, *, kind: FaultKind = "unavailable", uncertain: bool | None = None) -> None:
        super().__init__(message)
        self.kind: FaultKind = kind
        self.uncertain: bool = is_uncertain(kind, uncertain)

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later, as it is."""
        return self.kind not in {"lost", "refused"}


def is_uncertain(kind: FaultKind, uncertain: bool | None) -> bool:
    """Return whether a call may have been carried out all the same: as given, else as the kind says."""
    return kind == "unavailable" if uncertain is None else uncertain


def may_have_been_done(error: Exception) -> bool:
    """Return whether a call that failed with this error may have been carried out. A foreign error does not tell."""
    return not isinstance(error, BackendError) or error.uncertain


class Reject(DawdleError):  # noqa: N818 - a decision of the handler, not a failure
    """A handler raises it to dead-letter its event at once: `raise dawdle.Reject("the account is closed")`."""


class RetryLater(DawdleError):  # noqa: N818 - a decision of the handler, not a failure
    """A handler that cannot do its work yet raises it: `raise dawdle.RetryLater(30)`.

    The handler gets its event again after `seconds`, 0 or more, a number or a timedelta. The attempt is not counted.
    Raises `ConfigurationError` for another value, and then the handler has failed.
    """

    def __init__(self, seconds: float | timedelta) -> None:
        self.seconds = to_seconds(seconds, "RetryLater takes")
        super().__init__(f"not before {self.seconds:g} s")


def one_line(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """Return a text, which a stranger may have written, as it may be shown in one line of a log, a repr or an error.

    Line breaks, control characters and marks that turn the direction of writing become escapes, and a text of more than
    `limit` characters is cut. So it can forge no log record, send no commands to a terminal, and fill no disk.
    """
    cut = text if len(text) <= limit else f"{text[:limit]}…"
    return cut if cut.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cut)


def shown(value: object) -> str:
    """Return the repr of a wrong value for an error's text. It may have none: Python prints no int of 5,000 digits."""
    try:
        return one_line(repr(value))
    except Exception:  # noqa: BLE001 - the error to be raised is another one
        return f"a {type(value).__qualname__} that cannot be shown"


def require_bool(value: object, what: str) -> bool:
    """Return a value that is True or False. Another one, such as the text "no", would silently count as true.

    Raises `ConfigurationError` for it, with a text that begins with `what`, such as "direct is".
    """
    if isinstance(value, bool):
        return value
    raise ConfigurationError(f"{what} True or False, not {shown(value)}")


def require_context_manager(made: AbstractAsyncContextManager[V], what: str) -> AbstractAsyncContextManager[V]:
    """Return what a function of the user's has made, named by `what`. Raises `ConfigurationError` for anything else."""
    given: object = made
    if isinstance(given, AbstractAsyncContextManager):
        return made
    if isinstance(given, Coroutine):
        given.close()  # or Python warns that it was never awaited
    raise ConfigurationError(
        f"{what} returned an object of the type {type(given).__qualname__}, which is no async context manager: make it "
        f"`async def`, let it yield once, and write @contextlib.asynccontextmanager above it"
    )


def to_seconds(
    value: object, what: str, *, least: float = 0.0, most: float = sys.float_info.max, above: bool = False
) -> float:
    """Return a duration in seconds, given as a number or a `timedelta`. Every duration that a user gives comes by here.

    It is `least` to `most` seconds, both included; `above`: more than `least`. A `most` of `inf` allows `inf`. Raises
    `ConfigurationError` for another value, with a text that begins with `what`, such as "grace is".
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool):
        holds = isinstance(seconds, float) or seconds <= sys.float_info.max  # a larger int cannot be a float
        if holds and least <= seconds <= most and not (above and seconds == least):
            return float(seconds)
    if most in {inf, sys.float_info.max}:
        span = f"more than {least:g}" if above else f"{least:g} or more"
    else:
        span = f"more than {least:g} and at most {most:,.15g}" if above else f"{least:g} to {most:,.15g}"
    # The repr of a timedelta counts in days: timedelta(seconds=-5) would read "days=-1, seconds=86395".
    text = f"timedelta(seconds={seconds:g})" if isinstance(value, timedelta) else shown(value)
    raise ConfigurationError(f"{what} {span} seconds, or a timedelta, not {text}")
