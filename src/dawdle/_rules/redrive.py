"""What a dead letter is redriven as: the message that goes back to its queue. Letters in, bodies out.

A letter that dawdle wrote starts anew, at attempt 1, for the handler that it is owed to. A message that SQS moved goes
back to where it was in its life.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from dawdle._rules.dead_letter import ROUNDING_SECONDS, Found, body_in_letter, why_incomplete
from dawdle._rules.envelope import Envelope, rewrite, to_rfc3339

__all__ = ["Lineage", "Redriven", "Refused", "lineage_of", "redriven", "restarted", "when_written"]

Lineage = tuple[str, str, str | None]
"""Source and id of an event, and the handler that it is owed to."""


class Redriven(msgspec.Struct, frozen=True):
    """The message that goes back to the queue in a letter's place."""

    body: bytes
    unsigned: bool
    """It is no event, but bytes as they once came. They were not verified, so they are not signed."""

    def __repr__(self) -> str:
        return f"<Redriven as {len(self.body)} bytes{', raw' if self.unsigned else ''}>"


class Refused(msgspec.Struct, frozen=True):
    """A letter that cannot be redriven, and why."""

    reason: str


def redriven(found: Found) -> Redriven | Refused:
    """Return the message that goes back to the queue in a letter's place."""
    body, envelope = found.body, found.envelope
    if envelope is None:
        return Redriven(body, unsigned=True)
    inner = body_in_letter(envelope)
    if inner is not None:
        half = why_incomplete(envelope)
        return Redriven(inner, unsigned=True) if half is None else Refused(half)
    # SQS moved a message that was still on its way: its attempt, its due time and what it owes still count. A letter of
    # ours is at the end of its life, and a person decided that it gets another.
    if envelope.dead is None:
        return Redriven(_resumed(found, envelope), unsigned=False)
    return Redriven(restarted(body), unsigned=False)


def restarted(body: bytes) -> bytes:
    """Return the message of a letter's event, at attempt 1, for the handler that the letter is owed to."""
    return rewrite(body, _RESTART)


def lineage_of(found: Found) -> Lineage:
    """Return what a letter has in common with the letter that a second failure of the same event writes."""
    import hashlib  # noqa: PLC0415 - only a redrive needs it

    envelope = found.envelope
    raw = found.body if envelope is None else body_in_letter(envelope)
    if envelope is None or raw is not None:
        return ("", hashlib.sha256(raw or b"").hexdigest(), None)
    return (envelope.source, envelope.id, envelope.owed)


def when_written(found: Found, began: float) -> Literal["before", "after", "unsure"]:
    """Return whether a letter came into its queue before `began`, by the queue's clock, which may be rounded down."""
    stored_at = found.delivery.stored_at
    if stored_at is not None and stored_at >= began + ROUNDING_SECONDS:
        return "after"
    # A message that SQS moved keeps the time at which it was first stored, so an early time proves nothing there.
    is_marked = found.envelope is not None and found.envelope.dead is not None
    return "before" if is_marked and stored_at is not None and stored_at < began else "unsure"


_RESTART: Final[Mapping[str, object]] = dict.fromkeys(
    (
        *("dawdleattempt", "dawdleerror", "dawdledead", "dawdlequeue", "dawdletrial"),
        *("dawdlesince", "dawdlecrowded", "dawdledue", "dawdledelay"),
        *("dawdlelifetime", "dawdleexpires", "dawdleexpired"),
    )
)
"""Attributes that a letter loses when it starts anew: its failures, its death, when it was due, and when it expires: a
person wants it handled now."""


def _resumed(found: Found, envelope: Envelope) -> bytes:
    """Return the body of a message that SQS moved, without what counts towards giving it up.

    A delay that counts from when the message was stored becomes a due time, or it would begin again.
    """
    changes: dict[str, object] = {}
    if envelope.lifetime_ms is not None or envelope.expires is not None:  # a person wants it handled now
        changes |= dict.fromkeys(("dawdlelifetime", "dawdleexpires", "dawdleexpired"))
    stored_at = found.delivery.stored_at
    if envelope.trial:
        changes["dawdletrial"] = None
    if envelope.since is not None:
        changes["dawdlesince"] = None
    if envelope.crowded is not None:
        changes["dawdlecrowded"] = None
    if envelope.delay_ms is not None and stored_at is not None:
        changes["dawdledelay"] = None
        if envelope.due is None:
            changes["dawdledue"] = to_rfc3339(stored_at + int(envelope.delay_ms) / 1000)
    return rewrite(found.body, changes) if changes else found.body
