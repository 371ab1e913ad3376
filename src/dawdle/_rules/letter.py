"""What becomes of a message that cannot be handled: a letter to the dead-letter queue, or the message again, later.

And how a copy of a message is written, whichever verdict asks for one.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from dawdle._rules.delay import hop
from dawdle._rules.envelope import Envelope, clip, moment, rewrite, seconds, write
from dawdle._rules.packing import pack
from dawdle._rules.settlement import Copy, Forward, Release, Settlement, Terms, Why

__all__ = ["LONGEST_BACKOFF", "UNDECODABLE", "copy_of", "dead", "give_up", "undecodable", "unreadable"]

UNDECODABLE: Final = "dawdle.undecodable"
"""The type of a dead letter that holds, as `data_base64`, a body which is no CloudEvent."""

LONGEST_BACKOFF: Final = 900.0
"""Seconds. What cannot be handled and cannot be given up is looked at this often."""


def undecodable(body: bytes, key: str, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of a body that is no CloudEvent: a dead letter that holds it, or the body again, later.

    base64 makes a third more of it. What the dead-letter queue would not take is cut at the end; the letter's error
    begins with how much, and `dawdlecut` says it to a program.
    """
    if not terms.keeps_dead:
        delay = hop(LONGEST_BACKOFF, terms.reach)
        if delay <= 0:
            return Release(LONGEST_BACKOFF)
        return Forward((Copy(body=body, delay=delay, why="kept", reason=reason, as_is=True),), otherwise=delay)
    letter = _wrapped(body, key, reason, now, terms)
    if len(letter) > terms.max_body:
        frame = len(letter) - _base64_length(len(body))
        room = max(0, terms.max_body - frame - _LONGEST_CUT) // 4 * 3
        cut = len(body) - room
        reason = f"the last {cut} of its {len(body)} bytes are cut off here: {reason}"
        letter = _wrapped(body[:room], key, reason, now, terms, cut)
    return Forward((Copy(body=letter, delay=0.0, why="dead", reason=reason),), otherwise=LONGEST_BACKOFF)


_LONGEST_CUT: Final = 100
"""Bytes of what a letter says about a body that is cut."""


def _wrapped(body: bytes, key: str, reason: str, now: float, terms: Terms, cut: int = 0) -> bytes:
    return write(
        {
            "specversion": "1.0",
            "id": key,
            "source": "dawdle",
            "type": UNDECODABLE,
            "time": moment(now),
            **dead(reason, now),
            **_named(terms),
            **({"dawdlecut": cut} if cut else {}),
            "datacontenttype": "application/octet-stream",
            "data_base64": body,
        }
    )


def _named(terms: Terms) -> dict[str, object]:
    """Return what says which queue a letter belongs to; several may share one dead-letter queue."""
    return {} if terms.queue is None else {"dawdlequeue": terms.queue}


def _base64_length(length: int) -> int:
    return (length + 2) // 3 * 4


def unreadable(body: bytes, envelope: Envelope, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of an event whose data is not of its type."""
    return give_up(body, envelope, reason, now, terms)


def give_up(body: bytes, envelope: Envelope, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of an event that no handler can be run for.

    Without a dead-letter queue it is kept as it is, at the longest back-off, for ever; and since when nobody wants
    it stays written, so that it is not offered around again.
    """
    owed = envelope.owed
    if terms.keeps_dead:
        letter = copy_of(body, 0.0, now, terms, why="dead", handler=owed, reason=reason, changes=dead(reason, now))
        return Forward((letter,), otherwise=LONGEST_BACKOFF)
    if terms.reach <= 0:
        return Release(LONGEST_BACKOFF)
    since = {} if envelope.since is None else {"dawdlesince": moment(seconds(envelope.since))}
    kept = copy_of(body, LONGEST_BACKOFF, now, terms, why="kept", handler=owed, reason=reason, changes=since)
    return Forward((kept,), otherwise=LONGEST_BACKOFF)


def dead(reason: str, now: float) -> dict[str, object]:
    """Return what makes a copy a letter: why it was given up, and when.

    The time is also the mark of a letter that dawdle wrote. What lies in the dead-letter queue without it was moved
    there by the queue itself, and its error is that of an earlier attempt.
    """
    return {"dawdleerror": clip(reason), "dawdledead": moment(now)}


_GONE: Final[Mapping[str, object]] = dict.fromkeys(
    (
        *("dawdledelay", "dawdledue", "dawdletrial", "dawdlesince", "dawdledead"),
        *("dawdlecrowded", "dawdlequeue", "dawdlepacked"),
    )
)
"""What no copy takes along: how long its original had to wait, how it was tried, how it was counted in the line of a
handler that was crowded, that it was dead once, and that it is packed: only a letter is, and no letter is a message."""


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

    An event that fills its queue to the byte leaves no room for what a copy adds. `signal` sends none, but others may.
    It is retried without what was said of its failures, or given up.
    """
    first = hop(delay, terms.reach)
    due = {"dawdledue": moment(now + delay)} if delay > first else {}
    written = {**_GONE, **due, **changes, **(_named(terms) if why == "dead" else {})}
    copy = Copy(body=rewrite(body, written), delay=first, why=why, handler=handler, reason=reason)
    if len(copy.body) <= terms.max_body or not terms.keeps_dead or why in _COMES_BACK:
        return copy
    if why == "dead":
        return _squeezed(body, written, handler, reason, terms)
    brief = rewrite(body, {**written, "dawdleerror": None})
    if len(brief) <= terms.max_body:
        return msgspec.structs.replace(copy, body=brief)
    told = f"no copy of it fits, {why}: {len(brief):,} bytes, and {terms.max_body:,} is the most"
    told = f"{told}; {reason}" if reason else told
    owed = {"dawdleowed": changes["dawdleowed"]} if "dawdleowed" in changes else {}
    return _squeezed(body, {**_GONE, **owed, **dead(told, now), **_named(terms)}, handler, told, terms)


def _squeezed(
    body: bytes, changes: Mapping[str, object], handler: str | None, reason: str | None, terms: Terms
) -> Copy:
    """Return the letter of an event that leaves no room for one: its data packed, or else whole and just as it came."""
    letter = pack(body, changes)
    if len(letter) > terms.max_body:
        letter = rewrite(body, {"dawdlepacked": None}) if b"dawdlepacked" in body else body
    return Copy(body=letter, delay=0.0, why="dead", handler=handler, reason=reason)


_COMES_BACK: Final = frozenset({"interrupted", "crowded"})
"""What is released where no copy can be stored: nothing is wrong with it."""
