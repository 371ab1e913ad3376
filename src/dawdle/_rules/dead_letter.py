"""Reads a message of a dead-letter queue as a letter. Moves none; `redrive` writes what goes back.

Two writers put messages there. dawdle writes letters, and marks each with `dawdledead`. SQS moves messages by itself
that were received too often: these are as they were in their queue, without the mark.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic

import msgspec

from dawdle._rules.codec import open_event
from dawdle._rules.copies import Copy
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
from dawdle.errors import EventError, one_line

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
    "letter_stored",
    "read_letter",
    "seconds_dead",
    "why_incomplete",
]

REDRIVEN_BY_SQS: Final = "redriven by SQS"
"""The error of a letter that dawdle did not write."""

ROUNDING_SECONDS: Final = 1.0
"""Seconds by which a queue's clock may be ahead of the date that it answers with, which is rounded down."""


class DeadLetter(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """An event that was given up, or one handler's share of it, as `dead_letters()` yields it.

    `DeadLetter[OrderPlaced]` has an event of that type, `DeadLetter` may have none. Its repr shows neither the event
    nor the body.
    """

    event_id: str
    """The id that `signal()` returned; for a message that is no event, the queue's own id of it."""

    event_type: str
    """The event's name on the wire; `dawdle.undecodable` for a message that is no event."""

    handler: str | None
    """The name of the handler that failed for good. It alone runs after a redrive. None: no handler could be run."""

    error: str
    """Why: the error's type and message, cut at 1 KiB, without control characters other than tab, newline and return;
    `redriven by SQS` if SQS moved it by itself."""

    attempts: int
    """The attempt in which it was given up, from 1."""

    event: E_co
    """The event, if this app knows its type and its codec and the data fits; else None."""

    dead_at: datetime | None
    """When it was given up, aware, by the queue's clock; None if SQS moved it, since SQS does not say when."""

    signaled_at: datetime | None
    """When it was signaled, aware, by the signaling node's clock; None where that is not known."""

    headers: Mapping[str, str]
    """The headers that `signal()` was given, and any attribute of a foreign event."""

    queue: str
    """The queue that a redrive puts it into, by its name in this app. The app's own letters came from there."""

    body: bytes
    """The message as it is in the dead-letter queue, for tools."""

    origin: str | None = None
    """The identity of the queue that it came from, on SQS `account/name`; None if the letter does not say it."""

    since: datetime | None = None
    """What its age is counted from: `dead_at`; where that is None, when the queue stored the message. Aware."""

    def __repr__(self) -> str:
        what = f"{one_line(self.event_type)} {one_line(self.event_id)}"
        whose = "" if self.handler is None else f" for {one_line(self.handler)}"
        when = "" if self.dead_at is None else f", dead since {self.dead_at:%Y-%m-%d %H:%M:%S%z}"
        return f"<DeadLetter {what}{whose}, attempt {self.attempts}{when}: {one_line(self.error, ERROR_BYTES)}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Show no more to rich, which prints field by field."""
        shown = ("event_id", "event_type", "handler", "error", "attempts", "dead_at", "queue")
        return [(name, getattr(self, name)) for name in shown]


class Found(msgspec.Struct, frozen=True):
    """A message of a dead-letter queue. It has no envelope if it is no event, or is not signed with our keys."""

    delivery: Delivery
    body: bytes
    """The body without its signature."""
    envelope: Envelope | None
    letter: DeadLetter
    claimed: str | None = None
    """The queue that a letter without our signature names. It is a reason to leave the letter alone, no other."""

    @property
    def says_queue(self) -> bool:
        """Whether its queue is known: SQS says it, or dawdle wrote it. Early letters of dawdle named none."""
        return self.letter.origin is not None or (self.envelope is not None and self.envelope.dead is not None)

    def __repr__(self) -> str:
        return f"<Found {self.letter!r}>"


def read_letter(
    delivery: Delivery, queue: str, types: TypeLookup, codecs: Mapping[str, Codec], signer: Signer
) -> Found:
    """Return a received message of a dead-letter queue as a letter. Raises nothing: any bytes make a letter."""
    # With keys the signature is checked here too. Otherwise anyone who may write into the dead-letter queue could have
    # any message signed and run, by waiting for its redrive.
    try:
        body = signer.unsigned(delivery.body)
        envelope = open_envelope(body)
    except EventError as error:
        letter = _of_no_event(delivery, queue, f"{REDRIVEN_BY_SQS}; {error}")
        return Found(delivery, delivery.body, None, letter, claimed=_claimed(delivery, signer))
    # A wrapper is an envelope of dawdle's own around bytes that are no event: its time is not that of an event.
    is_wrapper = body_in_letter(envelope) is not None
    dead_at = _dead_at(envelope, delivery.stored_at)
    letter = DeadLetter(
        event_id=envelope.id,
        event_type=envelope.type,
        handler=envelope.owed,
        error=_error_of(envelope),
        attempts=envelope.attempt,
        event=None if is_wrapper else _event_in(envelope, types, codecs),
        dead_at=dead_at,
        signaled_at=None if is_wrapper or envelope.time is None else aware(envelope.time),
        headers=headers_of(body),
        queue=queue,
        body=delivery.body,
        origin=delivery.origin or (envelope.queue if envelope.dead is not None else None),
        since=_stored_at(delivery) if dead_at is None else dead_at,
    )
    return Found(delivery, body, envelope, letter)


def letter_stored(
    copy: Copy, key: str, queue: str, died: float, types: TypeLookup, codecs: Mapping[str, Codec], signer: Signer
) -> DeadLetter:
    """Return the letter that a copy is, as `dead_letters()` will show it.

    `died`: when it was given up, in epoch seconds; `key`: its id if it is no event.
    """
    letter = read_letter(Delivery("", key, signer.sign(copy.body), stored_at=died), queue, types, codecs, signer).letter
    # A letter that had no room for its marks reads as one that SQS moved, but what it was given up for is known here.
    return msgspec.structs.replace(
        letter,
        handler=letter.handler or copy.handler,
        error=letter.error if copy.reason is None else copy.reason,
        dead_at=letter.since if letter.dead_at is None else letter.dead_at,
    )


def body_in_letter(envelope: Envelope) -> bytes | None:
    """Return the undecodable body, or its beginning, that a letter holds; None for the letter of an event."""
    if envelope.type != UNDECODABLE or envelope.dead is None:
        return None
    return envelope.data_base64


def why_incomplete(envelope: Envelope) -> str | None:
    """Return why the body in a letter is not the whole message; None: it is whole."""
    if not envelope.cut:
        return None
    return f"the last {envelope.cut} bytes of the message did not fit into the letter and are lost"


def seconds_dead(found: Found, now: float) -> float | None:
    """Return the age of a letter: since it was given up, or if SQS moved it, since it was first stored."""
    since = found.letter.since
    return None if since is None else max(0.0, now - to_epoch(since))


def _stored_at(delivery: Delivery) -> datetime | None:
    return None if delivery.stored_at is None else datetime.fromtimestamp(delivery.stored_at, UTC)


def _dead_at(envelope: Envelope, stored_at: float | None) -> datetime | None:
    """Return when a letter was given up: by its mark, but not later than it was stored."""
    # A mark in the future, by a stranger or a wrong clock, would keep the letter from `older_than` for ever.
    if envelope.dead is not None and stored_at is not None and to_epoch(envelope.dead) > stored_at + ROUNDING_SECONDS:
        return datetime.fromtimestamp(stored_at, UTC)
    return None if envelope.dead is None else aware(envelope.dead)


def _error_of(envelope: Envelope) -> str:
    error = clip(envelope.error or "")  # a stranger's letter may hold an error that is not cut
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
    """Return the queue that a letter without our signature names: apps with other keys may share dead letters."""
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
        since=_stored_at(delivery),
    )
