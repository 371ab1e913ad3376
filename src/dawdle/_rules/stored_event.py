"""Reads a message that a queue holds as a stored event, and writes the copy by which one handler gets it again.

Stores none. The message stays where it is: a queue that keeps copies keeps them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic

import msgspec

from dawdle._rules.codec import open_event
from dawdle._rules.dead_lettering import UNDECODABLE
from dawdle._rules.envelope import aware, headers_of, open_envelope, rewrite, to_rfc3339
from dawdle._rules.lookup import TypeLookup
from dawdle._rules.redrive import restarted
from dawdle._rules.signing import Signer
from dawdle.abc import Codec, Stored
from dawdle.errors import EventError, one_line

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # both type checkers bring it along, so that it is no dependency

    E_co = TypeVar("E_co", covariant=True, default=object | None)
else:
    from typing import TypeVar  # has defaults from Python 3.13 on

    E_co = TypeVar("E_co", covariant=True)

__all__ = ["REPLAYED", "StoredEvent", "read_stored", "replayed"]

REPLAYED: Final = "replayed"
"""The header by which a handler knows a replay: when it was made."""


class StoredEvent(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """An event as a queue holds it, as `browse()` yields it. Its repr shows neither the event nor the body."""

    event_id: str
    """The id that `signal()` returned; for a message that is no event, the queue's own id of it."""

    event_type: str
    """The event's name on the wire; `dawdle.undecodable` for a message that is no event, or is not signed."""

    event: E_co
    """The event, if this app knows its type and its codec and the data fits; else None."""

    handler: str | None
    """The name of the handler that the message is for alone, such as a retry; None: it is for all."""

    stored_at: datetime | None
    """When it was stored in this queue, aware, by the queue's clock."""

    signaled_at: datetime | None
    """When it was signaled, aware, by the signaling node's clock; None where that is not known."""

    headers: Mapping[str, str]
    """The headers that `signal()` was given, and any attribute of a foreign event."""

    queue: str
    """The queue that holds it, by its name in this app."""

    group: str | None
    """The group that it was sent with, where the queue returns it."""

    body: bytes
    """The message as it is in the queue, for tools."""

    def __repr__(self) -> str:
        whose = "" if self.handler is None else f" for {one_line(self.handler)}"
        when = "" if self.stored_at is None else f", stored {self.stored_at:%Y-%m-%d %H:%M:%S%z}"
        return f"<StoredEvent {one_line(self.event_type)} {one_line(self.event_id)}{whose} in {self.queue}{when}>"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Show no more to rich, which prints field by field."""
        shown = ("event_id", "event_type", "handler", "stored_at", "queue")
        return [(name, getattr(self, name)) for name in shown]


def read_stored(
    stored: Stored, queue: str, types: TypeLookup, codecs: Mapping[str, Codec], signer: Signer
) -> StoredEvent:
    """Return a message that the queue of this name holds as an event. Raises nothing: any bytes make one."""
    at = None if stored.stored_at is None else datetime.fromtimestamp(stored.stored_at, UTC)
    try:
        body = signer.unsigned(stored.body)
        envelope = open_envelope(body)
    except EventError:
        return StoredEvent(
            event_id=stored.key,
            event_type=UNDECODABLE,
            event=None,
            handler=None,
            stored_at=at,
            signaled_at=None,
            headers={},
            queue=queue,
            group=stored.group,
            body=stored.body,
        )
    event_type = types.resolve_type(envelope.type)
    event = None
    if event_type is not None:
        try:
            event = open_event(envelope, event_type, codecs)
        except EventError:
            event = None
    return StoredEvent(
        event_id=envelope.id,
        event_type=envelope.type,
        event=event,
        handler=envelope.owed,
        stored_at=at,
        signaled_at=None if envelope.time is None else aware(envelope.time),
        headers=headers_of(body),
        queue=queue,
        group=stored.group,
        body=stored.body,
    )


def replayed(body: bytes, handler: str, now: float) -> bytes:
    """Return the message by which one handler gets an event again: at attempt 1, at once, marked as a replay.

    `body`: without its signature. It may be a copy for one queue: what a message owes comes before its queue.
    """
    return rewrite(restarted(body), {"dawdleowed": handler, "dawdleonly": None, REPLAYED: to_rfc3339(now)})
