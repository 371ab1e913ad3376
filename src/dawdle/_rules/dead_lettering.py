"""What becomes of a message that cannot be handled: a letter to the dead-letter queue, or the message again, later."""

from typing import Final

from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Copy, copy_of, dead_attributes, queue_attribute
from dawdle._rules.delay import hop
from dawdle._rules.envelope import Envelope, to_epoch, to_rfc3339, write
from dawdle._rules.settlement import Forward, Release, Settlement
from dawdle._rules.terms import Terms

__all__ = ["UNDECODABLE", "give_up", "undecodable", "unreadable"]

UNDECODABLE: Final = "dawdle.undecodable"
"""The type of a dead letter that holds, as `data_base64`, a body which is no CloudEvent."""


def undecodable(body: bytes, key: str, reason: str, now: float, terms: Terms) -> Settlement:
    """Return what becomes of a body that is no CloudEvent: a dead letter that holds it, or the body again, later.

    base64 makes a third more of it. What the dead-letter queue would not take is cut at the end; the letter's error
    begins with how much, and `dawdlecut` says it to a program.
    """
    if not terms.has_dead_letters:
        delay = hop(MAX_BACKOFF_SECONDS, terms.max_hop)
        if delay <= 0:
            return Release(MAX_BACKOFF_SECONDS)
        return Forward((Copy(body=body, delay=delay, why="kept", reason=reason, unsigned=True),), release_after=delay)
    letter = _letter_around(body, key, reason, now, terms)
    if len(letter) > terms.max_body:
        frame = len(letter) - _base64_length(len(body))
        room = max(0, terms.max_body - frame - _MAX_CUT_BYTES) // 4 * 3
        cut = len(body) - room
        reason = f"the last {cut} of its {len(body)} bytes are cut off here: {reason}"
        letter = _letter_around(body[:room], key, reason, now, terms, cut)
    return Forward((Copy(body=letter, delay=0.0, why="dead", reason=reason),), release_after=MAX_BACKOFF_SECONDS)


_MAX_CUT_BYTES: Final = 100
"""Bytes of what a letter says about a body that is cut."""


def _letter_around(body: bytes, key: str, reason: str, now: float, terms: Terms, cut: int = 0) -> bytes:
    return write(
        {
            "specversion": "1.0",
            "id": key,
            "source": "dawdle",
            "type": UNDECODABLE,
            "time": to_rfc3339(now),
            **dead_attributes(reason, now),
            **queue_attribute(terms),
            **({"dawdlecut": cut} if cut else {}),
            "datacontenttype": "application/octet-stream",
            "data_base64": body,
        }
    )


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
    if terms.has_dead_letters:
        letter = copy_of(
            body, 0.0, now, terms, why="dead", handler=owed, reason=reason, changes=dead_attributes(reason, now)
        )
        return Forward((letter,), release_after=MAX_BACKOFF_SECONDS)
    if terms.max_hop <= 0:
        return Release(MAX_BACKOFF_SECONDS)
    since = {} if envelope.since is None else {"dawdlesince": to_rfc3339(to_epoch(envelope.since))}
    kept = copy_of(body, MAX_BACKOFF_SECONDS, now, terms, why="kept", handler=owed, reason=reason, changes=since)
    return Forward((kept,), release_after=MAX_BACKOFF_SECONDS)
