"""How a copy of a message is written: what it says, what it leaves out, and what is done where it does not fit.

A copy is what keeps an (event, handler) pair alive. It is stored before its original is acked, so every change to an
event's life (a retry, a delay, a trial, its death) is a copy with other attributes, and never a change in place.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import force_setattr

from dawdle._rules.delay import hop
from dawdle._rules.envelope import clip, rewrite, to_rfc3339
from dawdle._rules.terms import Terms
from dawdle.errors import shown

__all__ = ["MAX_BACKOFF_SECONDS", "Copy", "Why", "copies_for_missing", "copy_of", "dead_attributes", "queue_attribute"]

MAX_BACKOFF_SECONDS: Final = 900.0
"""Seconds. What cannot be handled and cannot be given up is looked at this often."""

Why = Literal["retry", "later", "crowded", "interrupted", "delayed", "unclaimed", "missing", "trial", "dead", "kept"]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A message to be stored before the one in hand is acked."""

    body: bytes
    delay: float
    why: Why
    handler: str | None = None
    reason: str | None = None
    """Why, as a letter, the log and the hooks tell it: cut, since a stranger's text may be in it."""
    unsigned: bool = False
    """Its body was not written here and nobody answers for it: it goes out byte for byte, and is never signed."""

    def __post_init__(self) -> None:
        if self.reason is not None:
            force_setattr(self, "reason", clip(self.reason))

    def __repr__(self) -> str:
        return f"<Copy of {len(self.body)} bytes, {self.why}, in {self.delay:g} s, for {shown(self.handler)}>"

    @property
    def is_letter(self) -> bool:
        """Whether it goes to the dead-letter queue."""
        return self.why == "dead"


def copy_of(
    body: bytes,
    delay: float,
    now: float,
    terms: Terms,
    *,
    why: Why,
    changes: Mapping[str, object],
    handler: str | None = None,
    reason: str | None = None,
) -> Copy:
    """Return a copy that waits `delay` seconds from now; what said how long this one had to wait is gone from it.

    An event that fills its queue to the byte leaves no room for what a copy adds. `signal` sends none, but other
    producers may. It is retried without what was said of its failures, or given up; see `_letter_that_fits`.
    """
    first = hop(delay, terms.max_hop)
    due = {"dawdledue": to_rfc3339(now + delay)} if delay > first else {}
    written = {**_DROPPED, **due, **changes, **(queue_attribute(terms) if why == "dead" else {})}
    copy = Copy(body=rewrite(body, written), delay=first, why=why, handler=handler, reason=reason)
    if len(copy.body) <= terms.max_body or not terms.has_dead_letters or why in _RELEASED:
        return copy
    if why == "dead":
        return msgspec.structs.replace(copy, body=_letter_that_fits(body, written, terms))
    brief = rewrite(body, {**written, "dawdleerror": None})
    if len(brief) <= terms.max_body:
        return msgspec.structs.replace(copy, body=brief)
    text = f"no copy of it fits, {why}: {len(brief):,} bytes, and {terms.max_body:,} is the most"
    text = f"{text}; {reason}" if reason else text
    owed = {"dawdleowed": changes["dawdleowed"]} if "dawdleowed" in changes else {}
    letter = {**_DROPPED, **owed, **dead_attributes(text, now), **queue_attribute(terms)}
    return Copy(body=_letter_that_fits(body, letter, terms), delay=0.0, why="dead", handler=handler, reason=text)


def _letter_that_fits(body: bytes, changes: Mapping[str, object], terms: Terms) -> bytes:
    """Return a letter with as much of its error as there is room for, or else the event whole and just as it came."""
    letter = rewrite(body, changes)
    if len(letter) <= terms.max_body:
        return letter
    bare = len(rewrite(body, {**changes, "dawdleerror": ""}))
    if bare > terms.max_body:
        return body
    room = (terms.max_body - bare) // 2  # JSON makes two bytes of a character at most, see `clip`
    return rewrite(body, {**changes, "dawdleerror": clip(str(changes["dawdleerror"]), room)})


def copies_for_missing(body: bytes, missing: Sequence[str], now: float, terms: Terms) -> tuple[Copy, ...]:
    """Return a copy of an event for each handler that its type names and this node lacks.

    None where no other node can have it: then there is only a warning to be given.
    """
    if not terms.shared:
        return ()
    return tuple(
        copy_of(body, 0.0, now, terms, why="missing", handler=name, changes={"dawdleowed": name}) for name in missing
    )


def dead_attributes(reason: str, now: float) -> dict[str, object]:
    """Return what makes a copy a letter: why it was given up, and when.

    The time is also the mark of a letter that dawdle wrote. What lies in the dead-letter queue without it was moved
    there by the queue itself, and its error is that of an earlier attempt.
    """
    return {"dawdleerror": clip(reason), "dawdledead": to_rfc3339(now)}


def queue_attribute(terms: Terms) -> dict[str, object]:
    """Return what says which queue a letter belongs to; several may share one dead-letter queue."""
    return {} if terms.queue is None else {"dawdlequeue": terms.queue}


_DROPPED: Final[Mapping[str, object]] = dict.fromkeys(
    (
        *("dawdledelay", "dawdledue", "dawdletrial", "dawdlesince", "dawdledead"),
        *("dawdlecrowded", "dawdlequeue"),
    )
)
"""What no copy takes along: how long its original had to wait, how it was tried, how it was counted in the line of a
handler that was crowded, and that it was dead once."""

_RELEASED: Final = frozenset({"interrupted", "crowded"})
"""What is released where no copy can be stored: nothing is wrong with it."""
