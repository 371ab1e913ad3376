"""Decides where a message goes that cannot be handled: into a letter, or back into its queue. Sends nothing.

Nothing is ever dropped here. Without a dead-letter queue a message stays in its queue, at the longest back-off.
"""

from typing import Final

from dawdle._rules.copies import MAX_BACKOFF_SECONDS, Copy, copy_of, dead_attributes, queue_attribute
from dawdle._rules.delay import hop
from dawdle._rules.envelope import Envelope, to_epoch, to_rfc3339, write
from dawdle._rules.settlement import Forward, Release, Settlement
from dawdle._rules.terms import Terms

__all__ = ["UNDECODABLE", "give_up", "undecodable", "unreadable"]

UNDECODABLE: Final = "dawdle.undecodable"
"""The type of a dead letter that holds a body which is no CloudEvent, in `data_base64`."""


def undecodable(body: bytes, key: str, reason: str, now: float, terms: Terms) -> Settlement:
    """Return where a body goes that is no CloudEvent: into a dead letter that holds it, or back into the queue."""
    if not terms.has_dead_letters:
        delay = hop(MAX_BACKOFF_SECONDS, terms.max_hop)
        if terms.ordered:  # it keeps its place, and holds its group
            return Release(MAX_BACKOFF_SECONDS, "kept", reason)
        if delay <= 0:
            return Release(MAX_BACKOFF_SECONDS)
        return Forward((Copy(body=body, delay=delay, why="kept", reason=reason, unsigned=True),), release_after=delay)
    # base64 makes a body a third larger, so one that nearly filled its queue does not fit into a letter. Its end is cut
    # off: the beginning shows a person what came. The error says how much is missing, and `dawdlecut` tells a program.
    letter = _letter_around(body, key, reason, now, terms)
    if len(letter) > terms.max_body:
        frame = len(letter) - _base64_length(len(body))
        room = max(0, terms.max_body - frame - _MAX_CUT_BYTES) // 4 * 3
        cut = len(body) - room
        reason = f"the last {cut} of its {len(body)} bytes are cut off: {reason}"
        letter = _letter_around(body[:room], key, reason, now, terms, cut)
    return Forward((Copy(body=letter, delay=0.0, why="dead", reason=reason),), release_after=MAX_BACKOFF_SECONDS)


_MAX_CUT_BYTES: Final = 100
"""Bytes by which a letter of a cut body is longer: the sentence in its error, and `dawdlecut`."""


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
    """Return where an event goes whose data is not of its type."""
    return give_up(body, envelope, reason, now, terms)


def give_up(body: bytes, envelope: Envelope, reason: str, now: float, terms: Terms) -> Settlement:
    """Return where an event goes for which no handler can be run."""
    owed = envelope.owed
    if terms.has_dead_letters:
        letter = copy_of(
            body, 0.0, now, terms, why="dead", handler=owed, reason=reason, changes=dead_attributes(reason, now)
        )
        return Forward((letter,), release_after=MAX_BACKOFF_SECONDS)
    if terms.ordered:  # it keeps its place, and holds its group
        return Release(MAX_BACKOFF_SECONDS, "kept", reason)
    if terms.max_hop <= 0:
        return Release(MAX_BACKOFF_SECONDS)
    # `dawdlesince` stays in the kept copy. Without it the next node would count the event as new, and offer it to all
    # nodes again.
    since = {} if envelope.since is None else {"dawdlesince": to_rfc3339(to_epoch(envelope.since))}
    kept = copy_of(body, MAX_BACKOFF_SECONDS, now, terms, why="kept", handler=owed, reason=reason, changes=since)
    return Forward((kept,), release_after=MAX_BACKOFF_SECONDS)
