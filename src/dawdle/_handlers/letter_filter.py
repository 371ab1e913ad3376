"""Decides which dead letters a call takes: by queue, type, handler, age and the caller's own function. Moves none.

Several queues may share a dead-letter queue. A letter that is put into another queue than its own, or deleted, is lost
to the apps that handle it. So a call takes the letters of its own queue, unless it says `foreign`. A letter of an
earlier dawdle names no queue, and counts as its own. A message without any mark was put there by hand, or by a server
that does not say from where. It is taken if the app knows its type, or if the call names it.
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
"""Whether a letter is taken, and if not, why."""

Where = Callable[[DeadLetter], object]
"""Returns true for a letter that the caller wants."""


class LetterFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The conditions of one call. One that is not given excludes no letter."""

    types: LetterTypes
    any_type: bool = True
    """No type and no wire name was given."""
    handlers: frozenset[str] | None = None
    older_than: float | None = None
    newer_than: float | None = None
    where: Where | None = None
    event_types: tuple[type, ...] = ()
    """`where` is asked only of letters whose event is of one of these classes; empty: of any letter."""
    foreign: bool = False
    """Letters of other queues are taken too."""
    unnamed: bool = False
    """Letters that name no queue are taken too, of whatever type: to look at one does no harm."""

    def answer(self, found: Found, queue: str | None, now: float) -> Answer:
        """Return whether a letter is taken from the dead-letter queue of `queue`, an identity.

        `now` is by the clock of its queue. Raises what the caller's function raises.
        """
        # The caller's function comes last: it must not see a letter of another queue, nor one without its event.
        if not self._fits(found, now):
            return "not meant"
        if not self.shows(found, queue):
            return "of another queue"
        must_be_known = queue is not None and not self.foreign and not self.unnamed
        if must_be_known and not found.says_queue and not self._is_known(found.letter):
            return "of no known queue"
        if self.where is None:
            return "taken"
        if self.event_types and not isinstance(found.letter.event, self.event_types):
            return "without its event"
        return "taken" if self.where(found.letter) else "not meant"

    def shows(self, found: Found, queue: str | None) -> bool:
        """Whether a letter may be shown: it does not say that it belongs to another queue."""
        said = found.letter.origin or found.claimed
        return self.foreign or queue is None or said is None or said == queue

    def _is_known(self, letter: DeadLetter) -> bool:
        """Whether the call names the type or the handler of a letter, or the app knows its type."""
        named = self.handlers is not None or self.types.is_named(letter.event_type)
        return named or self.types.resolve_type(letter.event_type) is not None

    def _fits(self, found: Found, now: float) -> bool:
        letter = found.letter
        if not self.any_type and not self.types.includes(letter.event_type):
            return False
        if self.handlers is not None and letter.handler not in self.handlers:
            return False
        if self.older_than is None and self.newer_than is None:
            return True
        age = seconds_dead(found, now)
        if age is None or (self.older_than is not None and age < self.older_than):
            return False
        return self.newer_than is None or age < self.newer_than


def read_filter(
    subject: str,
    types: Sequence[type | str],
    handlers: AppHandlers,
    *,
    handler: str | None = None,
    older_than: float | timedelta | None = None,
    newer_than: float | timedelta | None = None,
    where: Where | None = None,
    foreign: bool = False,
    unnamed: bool = False,
) -> LetterFilter:
    """Return the filter for the arguments of the call `subject`. Raises `ConfigurationError`."""
    classes: list[type] = []
    for each in types:
        if isinstance(each, str) and each:
            continue
        require_event_class(each, subject)
        assert isinstance(each, type), "require_event_class refuses anything else"
        classes.append(each)
    if where is not None and (not callable(where) or is_async(where)):
        raise ConfigurationError(f"{subject} takes where=, a plain function of a letter, not {shown(where)}")
    require_bool(foreign, f"{subject} takes foreign=,")
    # A wire name may be of a type that this app lacks. With one among the types, `where` gets letters without their
    # event too; with classes alone it can rely on `letter.event`.
    return LetterFilter(
        types=LetterTypes(handlers, types),
        any_type=not types,
        handlers=None if handler is None else _names_of(subject, handler, handlers),
        older_than=None if older_than is None else to_seconds(older_than, f"{subject} takes older_than=,"),
        newer_than=None if newer_than is None else to_seconds(newer_than, f"{subject} takes newer_than=,"),
        where=where,
        event_types=tuple(classes) if len(classes) == len(types) else (),
        foreign=foreign,
        unnamed=unnamed,
    )


def _names_of(subject: str, handler: object, handlers: AppHandlers) -> frozenset[str]:
    """Return the names under which a letter may know a handler: its name and its aliases."""
    if not isinstance(handler, str) or not handler:
        raise ConfigurationError(
            f"{subject} takes handler=, the name that a letter shows (letter.handler), not {shown(handler)}"
        )
    known = handlers.handler_named(handler)
    return frozenset((handler, *(() if known is None else known.names)))
