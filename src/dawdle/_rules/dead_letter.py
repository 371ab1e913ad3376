"""What lies in a dead-letter queue: read as a letter, and written as the message that it is redriven as.

Two hands put it there. dawdle writes letters, and marks them with `dawdledead`. SQS moves messages by itself when they
were received too often: such a one is as it was in its queue, without the mark, and goes back to where it was in its
life. What dawdle gave up starts anew, at attempt 1, for the handler that it is owed to.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic

import msgspec

from dawdle._rules.codec import open_event
from dawdle._rules.dead_lettering import UNDECODABLE
from dawdle._rules.envelope import (
    ERROR_BYTES,
    Envelope,
    aware,
    clip,
    headers_of,
    open_envelope,
    to_epoch,
)
from dawdle._rules.lookup import TypeLookup
from dawdle._rules.signing import Signer
from dawdle.abc import Codec, Delivery
from dawdle.errors import EventError, in_line

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # both type checkers bring it along, so that it is no dependency

    E_co = TypeVar("E_co", covariant=True, default=object | None)
else:
    from typing import TypeVar  # has defaults from Python 3.13 on

    E_co = TypeVar("E_co", covariant=True)

__all__ = [
    "REDRIVEN_BY_SQS",
    "DeadLetter",
    "Found",
    "body_in_letter",
    "read_letter",
    "seconds_dead",
    "why_incomplete",
]

REDRIVEN_BY_SQS: Final = "redriven by SQS"
"""The error of a letter that dawdle did not write."""

ROUNDING_SECONDS: Final = 1.0
"""Seconds that a queue's clock may have been ahead of what it said: a date is rounded down."""


class DeadLetter(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """An event that was given up, or one handler's claim on it: what `dead_letters()` yields. Facts; nothing here acts.

    `DeadLetter[OrderPlaced]` has an event of that type, `DeadLetter` may have none. Its repr shows neither the event
    nor the body.
    """

    event_id: str
    """The id that `signal()` returned; of what is no event, the queue's name for the message."""

    event_type: str
    """The event's name on the wire; `dawdle.undecodable` for what is no event."""

    handler: str | None
    """The name of the handler that gave up, and that alone runs after a redrive; None: no handler could be run."""

    error: str
    """Why: the error's type and message, cut at 1 KiB, without control characters other than tab, newline and return;
    `redriven by SQS` if SQS moved it by itself."""

    attempts: int
    """The attempt in which it was given up, from 1."""

    event: E_co
    """The event, if this app knows its type and its codec and the data fits; else None."""

    dead_at: datetime | None
    """When it was given up, aware, by the queue's clock; None if SQS moved it, which does not say when."""

    signaled_at: datetime | None
    """When it was signaled, aware, by the signaling node's clock; None where that is not known."""

    headers: Mapping[str, str]
    """The headers that `signal()` was given, and any attribute of a foreign event."""

    queue: str
    """This app's name of the queue that a redrive puts it back into; an own letter came from there."""

    body: bytes
    """The message as it lies in the dead-letter queue, for tools."""

    origin: str | None = None
    """The identity of the queue that it came from, on SQS `account/name`; None where nothing says it."""

    def __repr__(self) -> str:
        what = f"{in_line(self.event_type)} {in_line(self.event_id)}"
        whose = "" if self.handler is None else f" for {in_line(self.handler)}"
        when = "" if self.dead_at is None else f", dead since {self.dead_at:%Y-%m-%d %H:%M:%S%z}"
        return f"<DeadLetter {what}{whose}, attempt {self.attempts}{when}: {in_line(self.error, ERROR_BYTES)}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Show no more to who prints field by field."""
        shown = ("event_id", "event_type", "handler", "error", "attempts", "dead_at", "queue")
        return [(name, getattr(self, name)) for name in shown]


class Found(msgspec.Struct, frozen=True):
    """One message of a dead-letter queue, and what it says; without an envelope it is no event, or nobody's we know."""

    delivery: Delivery
    body: bytes
    """What it says, without its signature."""
    envelope: Envelope | None
    letter: DeadLetter
    claimed: str | None = None
    """The queue that an unsigned letter says it is of: enough to leave it alone, and for nothing else."""

    @property
    def says_queue(self) -> bool:
        """Whether it is known which queue it is of: the server says it, or dawdle wrote it, which once named none."""
        return self.letter.origin is not None or (self.envelope is not None and self.envelope.dead is not None)

    def __repr__(self) -> str:
        return f"<Found {self.letter!r}>"


def read_letter(
    delivery: Delivery, queue: str, types: TypeLookup, codecs: Mapping[str, Codec], signer: Signer
) -> Found:
    """Return what a received message of a dead-letter queue says. Every message says something: nothing is raised.

    Whoever can write into that queue could otherwise have anything signed and run by having it redriven: with keys,
    what is not signed with one of them is no event here either.
    """
    try:
        body = signer.unsigned(delivery.body)
        envelope = open_envelope(body)
    except EventError as error:
        letter = _of_no_event(delivery, queue, f"{REDRIVEN_BY_SQS}; {error}")
        return Found(delivery, delivery.body, None, letter, claimed=_claimed(delivery, signer))
    is_wrapper = body_in_letter(envelope) is not None
    letter = DeadLetter(
        event_id=envelope.id,
        event_type=envelope.type,
        handler=envelope.owed,
        error=_error_of(envelope),
        attempts=envelope.attempt,
        event=None if is_wrapper else _event_in(envelope, types, codecs),
        dead_at=_dead_at(envelope, delivery.stored_at),
        signaled_at=None if is_wrapper or envelope.time is None else aware(envelope.time),
        headers=headers_of(body),
        queue=queue,
        body=delivery.body,
        origin=delivery.origin or (envelope.queue if envelope.dead is not None else None),
    )
    return Found(delivery, body, envelope, letter)


def body_in_letter(envelope: Envelope) -> bytes | None:
    """Return the bytes of an undecodable message, or their beginning, from the letter that holds them."""
    if envelope.type != UNDECODABLE or envelope.dead is None:
        return None
    return envelope.data_base64


def why_incomplete(envelope: Envelope) -> str | None:
    """Return why the bytes in a wrapper are not the message that came; None: they are."""
    if not envelope.cut:
        return None
    return f"its last {envelope.cut} bytes did not fit into the letter, and half a message is none"


def seconds_dead(found: Found, now: float) -> float | None:
    """Return how long ago a letter was given up; of what SQS moved, how long ago it was stored first."""
    if found.letter.dead_at is not None:
        since: float | None = to_epoch(found.letter.dead_at)
    else:
        since = found.delivery.stored_at
    return None if since is None else max(0.0, now - since)


def _dead_at(envelope: Envelope, stored_at: float | None) -> datetime | None:
    """Return when a letter was given up; no later than it was stored, or `older_than` would never reach it."""
    if envelope.dead is not None and stored_at is not None and to_epoch(envelope.dead) > stored_at + ROUNDING_SECONDS:
        return datetime.fromtimestamp(stored_at, UTC)
    return None if envelope.dead is None else aware(envelope.dead)


def _error_of(envelope: Envelope) -> str:
    error = clip(envelope.error or "")  # whoever can write into that queue need not have cut it
    if envelope.dead is not None:
        return error
    return REDRIVEN_BY_SQS if envelope.error is None else f"{REDRIVEN_BY_SQS}; before that: {error}"


def _event_in(envelope: Envelope, types: TypeLookup, codecs: Mapping[str, Codec]) -> object | None:
    event_type = types.resolve_type(envelope.type)
    if event_type is None:
        return None
    try:
        return open_event(envelope, event_type, codecs)
    except EventError:
        return None


def _claimed(delivery: Delivery, signer: Signer) -> str | None:
    """Return the queue that a letter names which this app cannot verify: another's, with keys of its own, names it."""
    if not signer.size:
        return None
    try:
        envelope = open_envelope(delivery.body)
    except EventError:
        return None
    return envelope.queue if envelope.dead is not None else None


def _of_no_event(delivery: Delivery, queue: str, error: str) -> DeadLetter:
    return DeadLetter(
        event_id=delivery.key,
        event_type=UNDECODABLE,
        handler=None,
        error=error,
        attempts=1,
        event=None,
        dead_at=None,
        signaled_at=None,
        headers={},
        queue=queue,
        body=delivery.body,
        origin=delivery.origin,
    )
