"""Encodes an event as the data of a message, and decodes it again. Sends nothing.

msgspec reads and writes all that it knows. A pydantic model uses its own methods, also inside a struct. A decoder is
compiled once per type.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, TypeVar

import msgspec

from dawdle._rules.body_limits import MAX_DEPTH, require_depth, require_messagepack_depth
from dawdle._rules.envelope import Envelope, open_envelope, write_event
from dawdle._rules.field_types import once_a_type
from dawdle._rules.lost_fields import not_readable, where_not_written
from dawdle._rules.non_finite import refuse_non_finite, require_json
from dawdle._rules.pydantic_models import Model, dump, load
from dawdle._rules.redaction import cause_without_data, without_data
from dawdle._rules.round_trip import require_equal
from dawdle._rules.screening import validated_json
from dawdle._rules.upcasting import exact_number, is_older, upcast
from dawdle.abc import Codec
from dawdle.errors import EventError, EventTooLargeError, shown
from dawdle.events import VERSIONED, event_style

__all__ = ["HEADROOM", "JSON", "MessagePack", "media_of", "open_event", "seal"]

HEADROOM: Final = 4096
"""Bytes that `signal` leaves free below a queue's limit, for the attributes that a retry or a letter adds."""

E = TypeVar("E")


class JSON:
    """The default codec: `application/json`, readable in every queue browser."""

    content_type = "application/json"

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=dump)
        self._writer = once_a_type(self._compile_writer)
        self._decoder = once_a_type(self._compile)

    def encode(self, event: object) -> bytes:
        """Return the event as JSON. Raises `EventError` for NaN, infinity, lone surrogates and unknown types."""
        try:
            data = self._writer(type(event))(event)
            # msgspec writes NaN and infinity as null too, and they would come back as None. `in` takes 0.2 µs longer.
            if data.find(b"null") >= 0:
                refuse_non_finite(event)
        except EventError:
            raise
        except Exception as error:
            raise _unencodable(event, error, self._encoder.encode) from error
        return data

    def decode(self, data: bytes, kind: type[E]) -> E:
        """Return the event. Raises `EventError` when the data is not one of that type."""
        return _decoded(self._decoder, data, kind)

    def _compile_writer(self, event_type: type[object]) -> Callable[[Any], bytes]:
        return _model_as_json if event_style(event_type) == "pydantic" else self._encoder.encode

    def _compile(self, event_type: type[object]) -> Callable[[bytes], Any]:
        if event_style(event_type) == "pydantic":
            return partial(validated_json, event_type)
        return msgspec.json.Decoder(event_type, dec_hook=load).decode


def _model_as_json(model: Model) -> bytes:
    data = model.model_dump_json(by_alias=True, round_trip=True, warnings=False).encode()
    if b"NaN" in data or b"Infinity" in data:  # in a string it is fine; as a number it is no JSON
        require_json(data, model)
    return data


class MessagePack:
    """MessagePack by msgspec. It is smaller for numbers and bytes, and travels as base64."""

    content_type = "application/msgpack"

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=dump)
        self._decoder = once_a_type(self._compile)

    def encode(self, event: object) -> bytes:
        """Return the event as MessagePack. Raises `EventError` for lone surrogates and unknown types."""
        try:
            data = self._encoder.encode(event)
        except Exception as error:
            raise _unencodable(event, error, self._encoder.encode) from error
        require_messagepack_depth(data, f"this {type(event).__qualname__}")
        return data

    def decode(self, data: bytes, kind: type[E]) -> E:
        """Return the event. Raises `EventError` when the data is not one of that type."""
        return _decoded(self._decoder, data, kind)

    def _compile(self, event_type: type[object]) -> Callable[[bytes], Any]:
        decode = msgspec.msgpack.Decoder(event_type, dec_hook=load).decode

        def checked(data: bytes) -> object:
            require_messagepack_depth(data)
            return decode(data)

        return checked


def seal(
    event: object,
    *,
    codec: Codec,
    wire_name: str,
    event_id: str,
    source: str,
    now: float,
    headers: Mapping[str, str],
    delay_ms: int,
    cause: str | None,
    max_body: int,
    codecs: Mapping[str, Codec] | None = None,
    more: Mapping[str, object] | None = None,
) -> bytes:
    """Return the body of an event's first copy, after reading the event back from it with these `codecs`.

    `more`: attributes that few events have.

    Raises `EventError`, with the field, for an event that cannot travel or does not come back equal, and
    `EventTooLargeError` for one that leaves less than `HEADROOM` free.
    """
    data = _encoded(codec, event)
    attributes: Mapping[str, object] = headers
    if delay_ms:
        attributes = {**attributes, "dawdledelay": str(delay_ms)}
    if cause is not None:
        attributes = {**attributes, "dawdlecause": cause}
    if more is not None:
        attributes = {**attributes, **more}
    is_json = codec.content_type == JSON.content_type
    if not is_json:
        attributes = {**attributes, "datacontenttype": codec.content_type, "data_base64": data}
    body = write_event(event_id, source, wire_name, now, attributes, data if is_json else None)
    # Every reader refuses a body that is too deep or too large. The caller should get that error, and not a dead
    # letter. Only the data has depth, and few bytes of it cannot have much.
    if is_json and len(data) >= MAX_DEPTH:
        require_depth(body, f"this {type(event).__qualname__}")
    if len(body) > max_body - HEADROOM:
        raise EventTooLargeError(
            f"this {type(event).__qualname__} makes a message of {len(body):,} bytes, and the queue takes "
            f"{max_body - HEADROOM:,} ({max_body:,} less {HEADROOM:,} for what a retry adds): store the large part "
            f"elsewhere, and signal a reference to it",
            size=len(body),
            limit=max_body - HEADROOM,
        )
    _require_round_trip(event, data, body, codec, codecs)
    return body


def _require_round_trip(
    event: object, data: bytes, body: bytes, codec: Codec, codecs: Mapping[str, Codec] | None
) -> None:
    """Raise `EventError` unless the event is read back equal."""
    # Each event is checked, not the first of a type: structs, dataclasses and attrs classes do not check their own
    # values, so a field may lose one value and keep another. Our own codecs always fit the envelope, so for them only
    # the data is decoded.
    is_ours = type(codec) is JSON or type(codec) is MessagePack
    try:
        if is_ours:
            read = codec.decode(data, type(event))
        else:
            read = open_event(open_envelope(body), type(event), codecs or {codec.content_type: codec})
    except EventError as error:
        raise not_readable(event, str(error), by_us=is_ours) from error
    require_equal(event, read, lambda: _encoded(codec, read) == data)


def media_of(envelope: Envelope) -> str:
    """Return the media type of an envelope's data, without parameters; `…+json` counts as JSON."""
    if envelope.datacontenttype is None:
        return JSON.content_type
    media = envelope.datacontenttype.partition(";")[0].strip().lower()
    return JSON.content_type if media.endswith("+json") else media


def open_event(envelope: Envelope, event_type: type[E], codecs: Mapping[str, Codec]) -> E:
    """Return the event in an envelope. Raises `EventError` when it is not of that type, or of a version unknown here.

    An envelope without data holds an empty object in JSON, and no bytes for another codec. Data of an older version of
    the type goes through its upcasters first.
    """
    media = media_of(envelope)
    codec = codecs.get(media)
    if codec is None:
        raise EventError(f"this app has no codec for {shown(media)}; it has {', '.join(sorted(codecs))}")
    data = _data_in(envelope, media)
    if (envelope.version != 1 or envelope.type in VERSIONED) and is_older(envelope.version, event_type):
        data = _upcast(data, envelope.version, event_type, codec)
    try:
        return codec.decode(data, event_type)
    except EventError:
        raise
    except Exception as error:  # noqa: BLE001 - the codec may be the user's own; raised again, as ours
        failure, cause = _undecodable(event_type, error), cause_without_data(error)
    raise failure from cause


def _upcast(data: bytes, version: int, event_type: type[object], codec: Codec) -> bytes:
    """Return data of an older version as the codec writes that of the newest one. Raises `EventError`."""
    # Plain values go through the event's own codec, both ways: so an upcaster gets what the codec can tell apart, such
    # as bytes and times in MessagePack, and a codec of the user's own needs nothing new.
    plain_type = _plain_type(codec)
    if type(codec) is JSON:
        codec = _JSON_FOR_MODELS if event_style(event_type) == "pydantic" else _JSON_FOR_OTHERS
    try:
        values = codec.decode(data, plain_type)
    except Exception as error:  # noqa: BLE001 - the codec may be the user's own; raised again, as ours
        failure, cause = EventError(f"its data cannot be read: {without_data(error)}"), cause_without_data(error)
    else:
        return _encoded(codec, upcast(values, version, event_type))
    raise failure from cause


class _PlainJSON(JSON):
    """JSON of plain values, in which no number loses digits: with another program a decimal may be a number."""

    def __init__(self, decimal_format: Literal["string", "number"]) -> None:
        super().__init__()
        self._encoder = msgspec.json.Encoder(enc_hook=dump, decimal_format=decimal_format)

    def _compile(self, event_type: type[object]) -> Callable[[bytes], Any]:
        return msgspec.json.Decoder(event_type, float_hook=exact_number).decode


# pydantic reads every number with a fraction as a float first, and keeps the digits of a text.
_JSON_FOR_MODELS: Final = _PlainJSON("string")
_JSON_FOR_OTHERS: Final = _PlainJSON("number")


def _plain_type(codec: Codec) -> type[object]:
    """Return the type as which a codec reads plain values. One of the user's own may not know `object` as any value."""
    return object if type(codec) is JSON or type(codec) is MessagePack else dict


def _data_in(envelope: Envelope, media: str) -> bytes:
    """Return the data as its codec wrote it. Raises `EventError`."""
    if envelope.data_base64 is not None:
        return envelope.data_base64
    raw = bytes(envelope.data)
    if media == JSON.content_type:
        return raw or b"{}"
    if not raw:
        return b""
    try:
        return msgspec.json.decode(raw, type=str).encode()
    except msgspec.MsgspecError as error:
        raise EventError(f"data of the type {shown(media)} travels as text or in data_base64: {error}") from error


def _encoded(codec: Codec, event: object) -> bytes:
    """Encode with a codec that may be the user's own; any other error of it becomes an `EventError`."""
    try:
        data = codec.encode(event)
    except EventError:
        raise
    except Exception as error:
        raise _unencodable(event, error) from error
    if isinstance(data, str):  # a codec of the user's own, such as `return json.dumps(…)`
        raise EventError(
            f"the codec {type(codec).__qualname__} returned text for this {type(event).__qualname__}, and encode() "
            f"returns bytes: write .encode() behind it"
        )
    return data


def _decoded(decoder: Callable[[type], Callable[[bytes], Any]], data: bytes, event_type: type[E]) -> E:
    """Decode with the decoder of a type. Compiling one fails as well where the type of a field is unknown."""
    try:
        event: E = decoder(event_type)(data)
    except Exception as error:  # noqa: BLE001 - raised again, as ours
        failure, cause = _undecodable(event_type, error), cause_without_data(error)
    else:
        return event
    # Raised outside of the `except`, or the error with the data in it would show up as this one's context.
    raise failure from cause


def _undecodable(event_type: type[object], error: Exception) -> EventError:
    return EventError(f"the data does not fit {event_type.__qualname__}: {without_data(error, event_type)}")


def _unencodable(event: object, error: Exception, write: Callable[[object], object] | None = None) -> EventError:
    name = type(event).__qualname__
    where = name if write is None else where_not_written(event, name, write)
    where = f"this {name}" if where == name else where
    if isinstance(error, UnicodeError):
        return EventError(f"{where} holds a lone surrogate, which UTF-8 cannot encode: {error.args[-1]}")
    if "invalid utf-8" in str(error):  # pydantic writes bytes as text unless its model says otherwise
        return EventError(
            f"{where} holds bytes that are no UTF-8 text, and pydantic writes bytes as text in JSON: set "
            f"model_config = ConfigDict(ser_json_bytes='base64', val_json_bytes='base64') in the model"
        )
    return EventError(f"{where} cannot be encoded: {error}")
