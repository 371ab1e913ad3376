"""Writes copies of a message: what a copy says, what it leaves out, and what happens when it is too large. Stores none.

A copy keeps an (event, handler) pair alive. It is stored before its original is acked. So every step in an event's life
(a retry, a delay, a trial, its death) is a copy with other attributes, and never a change in place.
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
"""Seconds. A message that can be neither handled nor dead-lettered is tried again this often."""

Why = Literal[
    "retry", "later", "crowded", "interrupted", "delayed", "due", "unclaimed", "missing", "trial", "dead", "kept"
]


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A message that is stored before its original is acked."""

    body: bytes
    delay: float
    why: Why
    handler: str | None = None
    reason: str | None = None
    """Why, for the letter, the log and the hooks. It is cut, since it may hold text that a stranger wrote."""
    unsigned: bool = False
    """Its body came from outside and was not verified: it goes out byte for byte, and is never signed."""

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
    """Return a copy that waits `delay` seconds from now. `changes` are its attributes by name; None removes one."""
    # The wait of the original goes, and only a wait that takes several hops needs a due time: one hop is the delay of
    # the stored copy itself.
    first = hop(delay, terms.max_hop)
    due = {"dawdledue": to_rfc3339(now + delay)} if delay > first else {}
    written = {**_DROPPED, **due, **changes, **(queue_attribute(terms) if why == "dead" else {})}
    copy = Copy(body=rewrite(body, written), delay=first, why=why, handler=handler, reason=reason)
    if len(copy.body) <= terms.max_body or not terms.has_dead_letters or why in _RELEASED:
        return copy
    # `signal` keeps `HEADROOM` free, so this copy is of an event that another producer made, as large as its queue
    # takes. A queue would refuse the copy each time, and the event would come back for ever. First to go is the error,
    # which only a person needs. If the retry still does not fit, the event is dead-lettered now: a letter is shorter,
    # and as short as necessary.
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
    """Return a letter with as much of its error as fits; without room for its marks, the event whole and as it came.

    The latter reads as a message that SQS moved by itself: a redrive runs all of its handlers.
    """
    letter = rewrite(body, changes)
    if len(letter) <= terms.max_body:
        return letter
    bare = len(rewrite(body, {**changes, "dawdleerror": ""}))
    if bare > terms.max_body:
        return body
    room = (terms.max_body - bare) // 2  # JSON writes a byte of clipped text as two at most
    return rewrite(body, {**changes, "dawdleerror": clip(str(changes["dawdleerror"]), room)})


def copies_for_missing(body: bytes, missing: Sequence[str], now: float, terms: Terms) -> tuple[Copy, ...]:
    """Return a copy of an event for each handler that its type names and this node lacks.

    A queue in memory has no other node, so there a copy would never be handled; the flow logs a warning instead.
    """
    if not terms.shared:
        return ()
    return tuple(
        copy_of(body, 0.0, now, terms, why="missing", handler=name, changes={"dawdleowed": name}) for name in missing
    )


def dead_attributes(reason: str, now: float) -> dict[str, object]:
    """Return the attributes that make a copy a letter: why it was given up, and when.

    The time also marks a letter that dawdle wrote. A message without it was moved into the dead-letter queue by the
    queue itself, and its error is that of an earlier attempt.
    """
    return {"dawdleerror": clip(reason), "dawdledead": to_rfc3339(now)}


def queue_attribute(terms: Terms) -> dict[str, object]:
    """Return the attribute that says which queue a letter belongs to; several may share one dead-letter queue."""
    return {} if terms.queue is None else {"dawdlequeue": terms.queue}


_DROPPED: Final[Mapping[str, object]] = dict.fromkeys(
    (
        *("dawdledelay", "dawdledue", "dawdletrial", "dawdlesince", "dawdledead"),
        *("dawdlecrowded", "dawdlequeue"),
    )
)
"""Attributes that no copy takes along, since they describe one stored message: its wait, its trial, since when no node
has its handler, its place in the line of a handler at its limit, and its death if it was a letter once."""

_RELEASED: Final = frozenset({"interrupted", "crowded"})
"""Copies that become no letter when they are too large, since nothing is wrong with their events. The queue refuses the
copy, and the message itself is released."""
