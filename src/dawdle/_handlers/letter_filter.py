"""Which dead letters a call means: by queue, type, handler, age, and what the caller says of each.

Several queues may share a dead-letter queue. To put a letter into another queue than its own, or to delete it there,
loses it for those who handle it, so a call means the letters of its own queue unless it says `foreign`. A letter that
an earlier dawdle wrote names no queue and counts as its own. What lies there without any mark was put there by hand, or
by a server that does not say from where: it is meant if the app knows its type, or if the call names it.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Literal

import msgspec

from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.letter_types import LetterTypes
from dawdle._handlers.signature import is_async, require_event_class
from dawdle._rules.dead_letter import DeadLetter, Found, seconds_dead
from dawdle.errors import ConfigurationError, require_bool, shown, to_seconds

__all__ = ["Answer", "LetterFilter", "Where", "read_filter"]

Answer = Literal["taken", "not meant", "of another queue", "of no known queue", "without its event"]
"""Whether a letter is taken, and why one is left that all else fits."""

Where = Callable[[DeadLetter], object]
"""Says of a letter whether it is meant."""


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What one call looks for; what is not given says nothing."""

    types: LetterTypes
    any_type: bool = True
    """No type and no wire name was given."""
    wire_names: frozenset[str] = frozenset()
    handlers: frozenset[str] | None = None
    older_than: float | None = None
    where: Where | None = None
    event_types: tuple[type, ...] = ()
    """The classes that the event of a letter must be of for `where` to be asked; none: it is asked of any letter."""
    foreign: bool = False
    """Letters of other queues are meant as well."""

    def answer(self, found: Found, queue: str | None, now: float) -> Answer:
        """Return whether a letter is taken from the dead-letter queue of `queue`, an identity.

        `now` is by its queue's clock. Raises whatever the caller's predicate raises.
        """
        if not self._fits(found, now):
            return "not meant"
        if not self.shows(found, queue):
            return "of another queue"
        if queue is not None and not self.foreign and not found.says_queue and not self._is_known(found.letter):
            return "of no known queue"
        if self.where is None:
            return "taken"
        if self.event_types and not isinstance(found.letter.event, self.event_types):
            return "without its event"
        return "taken" if self.where(found.letter) else "not meant"

    def shows(self, found: Found, queue: str | None) -> bool:
        """Whether a letter may be looked at: one that does not say that it is another queue's."""
        said = found.letter.origin or found.claimed
        return self.foreign or queue is None or said is None or said == queue

    def _is_known(self, letter: DeadLetter) -> bool:
        """Whether the call names what a letter is about, or the app knows it."""
        named = self.handlers is not None or letter.event_type in self.wire_names
        return named or self.types.resolve_type(letter.event_type) is not None

    def _fits(self, found: Found, now: float) -> bool:
        letter = found.letter
        if (
            not self.any_type
            and letter.event_type not in self.wire_names
            and not self.types.includes(letter.event_type)
        ):
            return False
        if self.handlers is not None and letter.handler not in self.handlers:
            return False
        if self.older_than is not None:
            age = seconds_dead(found, now)
            if age is None or age < self.older_than:
                return False
        return True


def read_filter(
    who: str,
    types: Sequence[type | str],
    handlers: AppHandlers,
    *,
    handler: str | None = None,
    older_than: float | timedelta | None = None,
    where: Where | None = None,
    foreign: bool = False,
) -> LetterFilter:
    """Return what the arguments of `who` mean. Raises `ConfigurationError`."""
    classes: list[type] = []
    for each in types:
        if isinstance(each, str) and each:
            continue
        require_event_class(each, who)
        assert isinstance(each, type), "it was required to be one"
        classes.append(each)
    if where is not None and (not callable(where) or is_async(where)):
        raise ConfigurationError(f"{who} takes where=, a plain function of a letter, not {shown(where)}")
    require_bool(foreign, f"{who} takes foreign=,")
    return LetterFilter(
        types=LetterTypes(handlers, classes),
        any_type=not types,
        wire_names=frozenset(each for each in types if isinstance(each, str)),
        handlers=None if handler is None else _names_of(who, handler, handlers),
        older_than=None if older_than is None else to_seconds(older_than, f"{who} takes older_than=,"),
        where=where,
        event_types=tuple(classes) if len(classes) == len(types) else (),
        foreign=foreign,
    )


def _names_of(who: str, handler: object, handlers: AppHandlers) -> frozenset[str]:
    """Return the names that a letter may know a handler by: what it is called, and what it was called before."""
    if not isinstance(handler, str) or not handler:
        raise ConfigurationError(
            f"{who} takes handler=, the name that a letter shows (letter.handler), not {shown(handler)}"
        )
    known = handlers.handler_named(handler)
    return frozenset((handler, *(() if known is None else known.names)))
