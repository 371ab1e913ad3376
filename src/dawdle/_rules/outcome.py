"""The outcomes of a handler, and how its error becomes one. A failure is a value here, so it cancels no sibling.

An exception is the user's own code. Its `__str__` may raise, its attributes may be missing, and it may be a group.
Reading it here never raises.
"""

from math import isfinite
from typing import Final, cast

import msgspec
from msgspec.structs import force_setattr

from dawdle._rules.envelope import clip
from dawdle.errors import Reject, RetryLater, shown

__all__ = [
    "DONE",
    "AtLimit",
    "Done",
    "Failed",
    "Interrupted",
    "Outcome",
    "Postponed",
    "Rejected",
    "error_text",
    "leaves_of",
    "outcome_of",
]

MAX_LEAVES_NAMED: Final = 5
"""Errors of one group that a reason names. Of the others it gives the number."""


class Done(msgspec.Struct, frozen=True):
    """It returned."""


DONE: Final = Done()
"""The one that all share: it has no values."""


class ErrorText(msgspec.Struct, frozen=True):
    """An outcome with an error. The error is cut, since a handler may put a whole event into it."""

    error: str

    def __post_init__(self) -> None:
        force_setattr(self, "error", clip(self.error))


class Failed(ErrorText, frozen=True):
    """It raised, or ran out of time."""


class Rejected(ErrorText, frozen=True):
    """It raised `Reject`, or an error that is final: never again."""


class Postponed(msgspec.Struct, frozen=True):
    """It raised `RetryLater`: not yet."""

    seconds: float


class AtLimit(msgspec.Struct, frozen=True):
    """It did not start: as many of its runs go on and wait here as its `concurrency` allows. It comes back later."""

    seconds: float
    step: float
    """Seconds that this event added to the line of its handler; see `_rules.pacing`."""


class Interrupted(msgspec.Struct, frozen=True):
    """A stop ended it, or kept it from starting."""


Outcome = Done | Failed | Rejected | Postponed | AtLimit | Interrupted


def outcome_of(error: BaseException, never: tuple[type[BaseException], ...] = ()) -> Failed | Rejected | Postponed:
    """Return the outcome for an error that a handler raised; `never` are the types that are final.

    A group, as a handler's own TaskGroup raises it, is final if any error in it is a `Reject` or final. It is
    postponed, by the longest wait, if all of its leaves are `RetryLater`. Else it has failed. The reason names the
    leaves.
    """
    # `never` may name a type of group, so the groups are looked at as well as their leaves.
    every, leaves = _errors_in(error)
    if any(isinstance(each, (Reject, *never)) for each in every):
        return Rejected(_text_of_leaves(leaves))
    if not all(isinstance(leaf, RetryLater) for leaf in leaves):
        return Failed(_text_of_leaves(leaves))
    waits = [_seconds_of(leaf) for leaf in leaves]
    known = [seconds for seconds in waits if isinstance(seconds, float)]
    if len(known) < len(waits):
        wrong = next(seconds for seconds in waits if not isinstance(seconds, float))
        return Failed(f"{_text_of_leaves(leaves)}: its seconds are {wrong}, and RetryLater takes a number of 0 or more")
    return Postponed(max(known))


def error_text(error: BaseException) -> str:
    """Return an error's type and message. An error whose `__str__` raises is given without its message."""
    name = type(error).__qualname__
    try:
        text = str(error)
    except BaseException as second:  # noqa: BLE001 - `__str__` is the user's code, and may raise anything
        text = f"(its message cannot be shown: {type(second).__name__})"
    return f"{name}: {text}" if text else name


def leaves_of(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, at any depth, that hold no other; of an error that is no group, itself."""
    return _errors_in(error)[1]


def _errors_in(error: BaseException) -> tuple[list[BaseException], list[BaseException]]:
    """Return an error with all errors in it, at any depth, and separately those that hold no other."""
    # A loop and no recursion: groups may be nested deeper than the stack.
    every: list[BaseException] = []
    leaves: list[BaseException] = []
    todo = [error]
    while todo:
        each = todo.pop()
        every.append(each)
        inner = _inner_of(each)
        if inner:
            todo.extend(reversed(inner))
        else:
            leaves.append(each)
    return every, leaves


def _inner_of(error: BaseException) -> list[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return []
    try:
        inner = list(cast("BaseExceptionGroup[BaseException]", error).exceptions)
    except BaseException:  # noqa: BLE001 - a subclass may make it a property that raises
        return []
    return [each for each in inner if isinstance(cast("object", each), BaseException)]


def _text_of_leaves(leaves: list[BaseException]) -> str:
    named = "; ".join(map(error_text, leaves[:MAX_LEAVES_NAMED]))
    more = len(leaves) - MAX_LEAVES_NAMED
    return f"{named}; and {more:,} more" if more > 0 else named


def _seconds_of(error: BaseException) -> float | str:
    """Return the wait that a `RetryLater` asks for, or text that describes a wrong one."""
    try:
        seconds: object = getattr(error, "seconds", None)
        is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if is_number and isfinite(cast("float", seconds)) and cast("float", seconds) >= 0:
            return float(cast("float", seconds))
    except BaseException as second:  # noqa: BLE001 - a subclass may make it a property; an int may be too large for a float
        return f"unreadable ({type(second).__name__})"
    return "missing (call super().__init__)" if seconds is None else shown(seconds)
