"""Which dead letters a call means: by type, handler, age, and what the caller says of each. Checks what was written."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from math import inf

import msgspec

from dawdle._rules.dead_letter import DeadLetter, Found, seconds_dead
from dawdle._rules.kinds import Kinds
from dawdle._rules.roster import Roster
from dawdle._rules.signature import is_async, require_kind
from dawdle.errors import ConfigurationError, shown

__all__ = ["Choice", "Where", "choose"]

Where = Callable[[DeadLetter], object]
"""Says of a letter whether it is meant."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What one call looks for; what is not given says nothing."""

    kinds: Kinds
    every: bool = True
    """No type and no wire name was given."""
    names: frozenset[str] = frozenset()
    handlers: frozenset[str] | None = None
    older_than: float | None = None
    where: Where | None = None

    def takes(self, found: Found, now: float) -> bool:
        """Whether a letter is meant; `now` is by its queue's clock. Raises whatever the caller's predicate raises."""
        letter = found.letter
        if not self.every and letter.event_type not in self.names and not self.kinds.holds(letter.event_type):
            return False
        if self.handlers is not None and letter.handler not in self.handlers:
            return False
        if self.older_than is not None:
            age = seconds_dead(found, now)
            if age is None or age < self.older_than:
                return False
        return self.where is None or bool(self.where(letter))


def choose(
    who: str,
    types: Sequence[type | str],
    roster: Roster,
    *,
    handler: str | None,
    older_than: float | timedelta | None,
    where: Where | None,
) -> Choice:
    """Return what the arguments of `who` mean. Raises `ConfigurationError`."""
    classes: list[type] = []
    for each in types:
        if isinstance(each, str) and each:
            continue
        require_kind(each, who)
        assert isinstance(each, type), "it was required to be one"
        classes.append(each)
    if where is not None and (not callable(where) or is_async(where)):
        raise ConfigurationError(f"{who} takes where=, a plain function of a letter, not {shown(where)}")
    return Choice(
        kinds=Kinds(roster, classes),
        every=not types,
        names=frozenset(each for each in types if isinstance(each, str)),
        handlers=None if handler is None else _names_of(who, handler, roster),
        older_than=None if older_than is None else _age(who, older_than),
        where=where,
    )


def _names_of(who: str, handler: object, roster: Roster) -> frozenset[str]:
    """Return the names that a letter may know a handler by: what it is called, and what it was called before."""
    if not isinstance(handler, str) or not handler:
        raise ConfigurationError(
            f"{who} takes handler=, the name that a letter shows (letter.handler), not {shown(handler)}"
        )
    known = roster.named(handler)
    return frozenset((handler, *(() if known is None else known.names)))


def _age(who: str, older_than: object) -> float:
    seconds = older_than.total_seconds() if isinstance(older_than, timedelta) else older_than
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < inf:
        raise ConfigurationError(f"{who} takes older_than=, 0 or more seconds or a timedelta, not {shown(older_than)}")
    return float(seconds)
