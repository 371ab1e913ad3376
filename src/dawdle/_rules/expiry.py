"""Computes when an event expires, by the queue's clock. Seconds in, seconds out; reads no clock.

    signal ── `dawdlelifetime`, from its storing on ──► first receive ── `dawdleexpires`, a time ──► every later copy

It is the way of a delay (`_rules.delay`), for the same reason: only the queue's clock decides, and a wrong clock of the
node that signals, or of one that receives, lets no event expire early or late.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from dawdle._rules.delay import to_ms
from dawdle._rules.envelope import Envelope, rewrite, to_epoch, to_rfc3339
from dawdle.errors import to_seconds
from dawdle.events import MAX_EXPIRES_SECONDS, Expired

__all__ = ["aged", "expiry_attributes", "seconds_late", "stamped"]


def expiry_attributes(expires: float | timedelta, delay: float, expired: Expired) -> Mapping[str, str]:
    """Return the attributes of a first copy that expires so many seconds after it is due.

    Raises `ConfigurationError` for a time that is not above 0.
    """
    seconds = to_seconds(expires, "expires is", most=MAX_EXPIRES_SECONDS, above=True)
    # Counted from when it is due, and not from the signaling: an event that waits for an hour and is good for a minute
    # must have that minute, and a type with `expires=` must not make each long delay of its events a mistake.
    lifetime = {"dawdlelifetime": str(to_ms(delay) + max(1, to_ms(seconds)))}
    return {**lifetime, "dawdleexpired": expired} if expired == "dead" else lifetime


def stamped(body: bytes, envelope: Envelope, stored_at: float) -> tuple[bytes, Envelope]:
    """Return a first copy as one that says when it expires: its lifetime counts from when the queue stored it."""
    assert envelope.lifetime_ms is not None, "the caller asks this first, since nearly no event has a lifetime"
    if envelope.expires is None:
        expires = to_rfc3339(stored_at + int(envelope.lifetime_ms) / 1000)
    else:  # written by another program, as it may write a due time
        expires = to_rfc3339(to_epoch(envelope.expires))
    return (
        rewrite(body, {"dawdlelifetime": None, "dawdleexpires": expires}),
        msgspec.structs.replace(envelope, lifetime_ms=None, expires=datetime.fromisoformat(expires)),
    )


def seconds_late(envelope: Envelope, now: float) -> float | None:
    """Return for how long an event has been expired, by the queue's clock; None: it has not."""
    if envelope.expires is None:
        return None
    late = now - to_epoch(envelope.expires)
    return late if late > 0 else None


def aged(body: bytes, envelope: Envelope, now: float) -> bytes:
    """Return what a copy of a direct event is made from: what is left of its lifetime counts from the copy's storing.

    No queue has seen the event, so `now` and its time are by the node's clock, and only their difference is used.
    """
    if envelope.lifetime_ms is None or envelope.time is None:
        return body
    left = int(envelope.lifetime_ms) / 1000 - max(0.0, now - to_epoch(envelope.time))
    return rewrite(body, {"dawdlelifetime": str(max(1, to_ms(left)))})
