"""Opens and rewrites the CloudEvent, in structured JSON, that a message is. Decides nothing, and decodes no event.

Reading goes through a struct, so that the attributes that dawdle needs are checked and typed. Writing goes through a
mapping of raw values, so that unknown attributes survive each copy to the byte. The data stays raw until its type is
known.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Annotated, Final, Literal

import msgspec

from dawdle._rules.body_limits import require_depth
from dawdle._rules.field_types import MAX_TYPES
from dawdle._rules.foreign import MARK, as_meant
from dawdle._rules.redaction import cause_without_data, without_data
from dawdle.errors import ConfigurationError, EventError, one_line
from dawdle.hooks import Trace

__all__ = [
    "ERROR_BYTES",
    "Envelope",
    "aware",
    "check_headers",
    "clip",
    "headers_of",
    "open_envelope",
    "rewrite",
    "to_epoch",
    "to_rfc3339",
    "write",
    "write_event",
]

ERROR_BYTES: Final = 1024
"""Bytes to which an error in a copy is cut. Escaped in JSON it has at most twice as many."""

_HEADER: Final = re.compile(r"[a-z0-9]{1,20}")
_CORE: Final = frozenset({"specversion", "id", "source", "type", "time", "datacontenttype", "data"})
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Control characters, line separators, and characters that change the direction of writing."""
_NONCHARACTERS: Final = ((b"\xef\xbf\xbe", b"\\ufffe"), (b"\xef\xbf\xbf", b"\\uffff"))
_FIRST_MS: Final = -62_135_596_800_000
_LAST_MS: Final = 253_402_300_799_000
_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Count = Annotated[int, msgspec.Meta(ge=1, lt=2**31)]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):  # nothing in it refers to it: 16 bytes less
    """The attributes of one message that dawdle reads. Times are RFC 3339; `to_epoch` turns them into seconds."""

    specversion: Literal["1.0"]
    id: _Text
    source: _Text
    type: _Text
    time: datetime | None = None
    datacontenttype: str | None = None
    data: msgspec.Raw = msgspec.Raw()
    data_base64: bytes | None = None
    delay_ms: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}$")] | None = msgspec.field(
        default=None, name="dawdledelay"
    )
    due: datetime | None = msgspec.field(default=None, name="dawdledue")
    lifetime_ms: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}$")] | None = msgspec.field(
        default=None, name="dawdlelifetime"
    )
    """Milliseconds from its storing until it expires. Only first copies have it; see `_rules.expiry`."""
    expires: datetime | None = msgspec.field(default=None, name="dawdleexpires")
    """When it expires, by the queue's clock."""
    expired: str | None = msgspec.field(default=None, name="dawdleexpired")
    """What becomes of it then: "dead" makes it a letter, all else drops it."""
    version: _Count = msgspec.field(default=1, name="dawdleversion")
    """Of its data, as its type counts them. An event of version 1 does not say so."""
    attempt: _Count = msgspec.field(default=1, name="dawdleattempt")
    owed: _Text | None = msgspec.field(default=None, name="dawdleowed")
    only: _Text | None = msgspec.field(default=None, name="dawdleonly")
    """Of a copy for another queue than the event's first: the queue whose handlers it is for, and no others."""
    since: datetime | None = msgspec.field(default=None, name="dawdlesince")
    trial: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = msgspec.field(default=0, name="dawdletrial")
    crowded: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] | None = msgspec.field(default=None, name="dawdlecrowded")
    """Microseconds that this copy added to the line of its handler, which was at its limit; see `_rules.pacing`."""
    cause: str | None = msgspec.field(default=None, name="dawdlecause")
    error: str | None = msgspec.field(default=None, name="dawdleerror")
    dead: datetime | None = msgspec.field(default=None, name="dawdledead")
    """When it was given up, by the queue's clock. Only letters have it."""
    queue: str | None = msgspec.field(default=None, name="dawdlequeue")
    """The identity of the queue in which it was given up. Only letters have it."""
    traceparent: object = None
    """With the next two, the trace that it belongs to. Text as a rule; what another producer writes is its own."""
    tracestate: object = None
    baggage: object = None
    cut: Annotated[int, msgspec.Meta(ge=0, lt=2**31)] = msgspec.field(default=0, name="dawdlecut")
    """Bytes of an undecodable body that are missing at its end, since its letter had no room for them."""

    def __repr__(self) -> str:
        return f"<Envelope {self.label}, attempt {self.attempt}>"

    @property
    def counted(self) -> float | None:
        """Seconds that this copy added to the line of its handler; None: it was not counted yet."""
        return None if self.crowded is None else self.crowded / 1e6

    @property
    def trace(self) -> Trace | None:
        """The trace that it belongs to; None if it names none."""
        if self.traceparent is None and self.baggage is None:  # as a rule, without telemetry
            return None
        named = [each if isinstance(each, str) else None for each in (self.traceparent, self.tracestate, self.baggage)]
        return Trace(*named) if any(named) else None

    @property
    def label(self) -> str:
        """Type and id as a log line shows them."""
        return f"{one_line(self.type)} {one_line(self.id)}"


_reader = msgspec.json.Decoder(Envelope)
_attributes = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def open_envelope(body: bytes) -> Envelope:
    """Return the envelope of a message's body.

    Raises `EventError` for a body that is not a CloudEvent 1.0 in JSON, or is nested too deep. Other producers' ways of
    writing are read as they mean them (`_rules.foreign`).
    """
    body = body.removeprefix(MARK)
    require_depth(body)
    try:
        if not body.isascii():
            body.decode()  # the reader skips unknown attributes unchecked, and a copy could not write them again
        try:
            return _reader.decode(body)
        except msgspec.ValidationError:  # rare, so only a body that fails is read a second time
            return _reader.decode(_encode(as_meant(_attributes_of(body))))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise EventError(f"not a CloudEvent 1.0 in JSON: {without_data(error)}") from cause_without_data(error)


def _attributes_of(body: bytes) -> dict[str, msgspec.Raw]:
    return _attributes.decode(body.removeprefix(MARK))


def write(attributes: Mapping[str, object]) -> bytes:
    """Return the body of a message with these attributes; a value of `msgspec.Raw` is written as it is.

    Raises `EventError` for a lone surrogate. U+FFFE and U+FFFF, which SQS refuses, are escaped.
    """
    try:
        return _escaped(_encode(attributes))
    except UnicodeEncodeError as error:
        raise _lone_surrogate(error) from error


def write_event(
    event_id: str, source: str, wire_name: str, now: float, more: Mapping[str, object], data: bytes | None
) -> bytes:
    """Return the body of an event's first copy, as `write` writes it; `data` is JSON, or None and in `more` as base64.

    Raises `EventError` for a lone surrogate.
    """
    # In one mapping, with the data as `msgspec.Raw`, the attributes took 1.4 µs. Joined from pieces, of which one is
    # cached by type, they take 0.8.
    try:
        pieces = [
            b'{"specversion":"1.0","id":',
            _encode(event_id),
            _middle(source, wire_name),
            _encode(datetime.fromtimestamp(now, UTC)),
        ]
        if more:
            pieces += (b",", _encode(more)[1:-1])
    except UnicodeEncodeError as error:
        raise _lone_surrogate(error) from error
    if data is not None:
        pieces += (b',"data":', data)
    pieces.append(b"}")
    return _escaped(b"".join(pieces))


@lru_cache(MAX_TYPES)
def _middle(source: str, wire_name: str) -> bytes:
    """Return what is between the id and the time in a body."""
    return b"," + _encode({"source": source, "type": wire_name})[1:-1] + b',"time":'


def _escaped(body: bytes) -> bytes:
    """Return a body in JSON without noncharacters."""
    # In UTF-8 these three bytes are never a part of another character, and JSON has them in strings only. So they can
    # be replaced in the whole body, raw data included.
    if not body.isascii():
        for raw, escaped in _NONCHARACTERS:
            if raw in body:
                body = body.replace(raw, escaped)
    return body


def _lone_surrogate(error: UnicodeEncodeError) -> EventError:
    return EventError(f"text holds a lone surrogate, which UTF-8 cannot encode: {error}")


def rewrite(body: bytes, changes: Mapping[str, object]) -> bytes:
    """Return a body with changes by attribute name; None removes one. All else survives to the byte."""
    # The values stay raw, so that each of them comes out as it went in, byte for byte.
    attributes: dict[str, object] = {**_attributes_of(body)}
    for name, value in changes.items():
        if value is None:
            attributes.pop(name, None)
        else:
            attributes[name] = value
    return write(attributes)


def headers_of(body: bytes) -> dict[str, str]:
    """Return every attribute that is neither CloudEvents' core nor dawdle's own. One that is not text is given as JSON.

    An attribute that is null counts as absent.
    """
    headers: dict[str, str] = {}
    for name, raw in _attributes_of(body).items():
        if name not in _CORE and name != "data_base64" and not name.startswith("dawdle"):
            text = bytes(raw)
            if text != b"null":
                headers[name] = msgspec.json.decode(text, type=str) if text.startswith(b'"') else text.decode()
    return headers


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise `ConfigurationError` for a header that cannot travel as an attribute of a CloudEvent."""
    for name, value in headers.items():
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            raise ConfigurationError(f"a header's name is 1 to 20 of a-z and 0-9, not {name!r}")
        if name in _CORE or name.startswith("dawdle"):
            raise ConfigurationError(
                f"the header {name!r} is taken: dawdle writes this attribute itself; choose another name"
            )
        if not isinstance(value, str):
            raise ConfigurationError(f"the header {name!r} is text, not {type(value).__qualname__}")


def aware(time: datetime) -> datetime:
    """Return a timestamp with its offset; one without counts as UTC."""
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def to_epoch(time: datetime) -> float:
    """Return a timestamp in epoch seconds."""
    return aware(time).timestamp()


def to_rfc3339(epoch: float) -> str:
    """Return epoch seconds as an RFC 3339 timestamp in UTC, rounded up to the millisecond.

    Seconds before the year 1 or after 9999 become the nearest timestamp that can be written.
    """
    # Rounded up, since no event may be early. The inner round removes the noise of floats, which would add a
    # millisecond.
    whole, ms = divmod(ceil(round(min(max(epoch * 1000, _FIRST_MS), _LAST_MS), 3)), 1000)
    return f"{datetime.fromtimestamp(whole, UTC).isoformat()[:19]}.{ms:03d}Z"


def clip(text: str, limit: int = ERROR_BYTES) -> str:
    """Return `text` cut to `limit` bytes of UTF-8, whole characters only.

    Lone surrogates become `?`, and so do control characters other than tab, newline and return: SQS refuses them, JSON
    makes six bytes of each, and a printed error must not steer a terminal.
    """
    # Cut as text first, so that an error of many megabytes is not encoded whole.
    cut = text[:limit].encode(errors="replace")[:limit].decode(errors="ignore")
    return cut if cut.isprintable() else _UNPRINTABLE.sub("?", cut)
