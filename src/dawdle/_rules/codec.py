"""How an event becomes the data of a message and comes back. A decoder is compiled once per type.

What msgspec knows, it reads and writes itself; a pydantic model does it by its own methods, also inside a struct.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from functools import partial
from itertools import chain, repeat
from math import isfinite
from typing import Any, Final, Protocol, TypeVar, cast

import msgspec

from dawdle._rules.bounds import require_depth
from dawdle._rules.envelope import Envelope, write
from dawdle._rules.screening import validated, validated_json
from dawdle._rules.telling import cause_without_data, without_data
from dawdle.abc import Codec
from dawdle.errors import EventError, EventTooLargeError, shown
from dawdle.events import kind_of

__all__ = ["HEADROOM", "JSON", "MessagePack", "media_of", "open_event", "seal"]

HEADROOM: Final = 4096
"""Bytes below a queue's limit that `signal` leaves for what a forwarded copy adds."""

E = TypeVar("E")


class _Model(Protocol):
    """The part of a pydantic model that we touch. Its warnings repeat the values that they are about."""

    def model_dump(self, *, mode: str, by_alias: bool, warnings: bool) -> dict[str, object]: ...
    def model_dump_json(self, *, by_alias: bool, warnings: bool) -> str: ...


def _dump(value: object) -> object:
    """Encode what msgspec does not know: a pydantic model inside a struct."""
    if kind_of(type(value)) == "pydantic":
        return cast("_Model", value).model_dump(mode="json", by_alias=True, warnings=False)
    raise NotImplementedError(f"a {type(value).__qualname__} cannot be encoded")


def _load(kind: type, value: object) -> object:
    """Decode what msgspec does not know: a pydantic model inside a struct.

    It was dumped in pydantic's JSON mode, so it is validated as JSON: else a strict model takes no text for a date.
    """
    if kind_of(kind) != "pydantic":
        raise NotImplementedError(f"a {kind.__qualname__} cannot be decoded")
    try:
        return _validated(kind, value)
    except ValueError as error:  # pydantic's, whose text msgspec would make its own
        told = without_data(error, kind)
    raise ValueError(told)  # out here, so that it does not keep pydantic's alive, which may be large


def _validated(kind: type, value: object) -> object:
    try:
        text = json.dumps(value)  # which carries NaN, as MessagePack does
    except (TypeError, ValueError):  # bytes, and what else a foreign MessagePack may hold
        return validated(kind, value)
    return validated_json(kind, text)


class JSON:
    """The default codec: `application/json`, readable in every queue browser."""

    content_type = "application/json"

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_dump)
        self._decoders: dict[type, Callable[[bytes], Any]] = {}

    def encode(self, event: object) -> bytes:
        """Return the event as JSON. Raises `EventError` for NaN, infinity, lone surrogates and unknown types."""
        try:
            if kind_of(type(event)) == "pydantic":
                data = cast("_Model", event).model_dump_json(by_alias=True, warnings=False).encode()
                if b"NaN" in data or b"Infinity" in data:  # as text, or as what is no JSON: the model's own choice
                    _require_json(data, event)
            else:
                data = self._encoder.encode(event)
            if b"null" in data:  # what JSON makes of NaN, and of None
                _refuse_endless(_plain(event), type(event).__qualname__, event)
        except EventError:
            raise
        except Exception as error:
            raise _unencodable(event, error) from error
        return data

    def decode(self, data: bytes, kind: type[E]) -> E:
        """Return the event. Raises `EventError` when the data is not one of that type."""
        decode: Callable[[bytes], E] | None = self._decoders.get(kind)
        if decode is None:
            if kind_of(kind) == "pydantic":
                decode = cast("Callable[[bytes], E]", partial(validated_json, kind))
            else:
                decode = msgspec.json.Decoder(kind, dec_hook=_load).decode
            self._decoders[kind] = decode
        return _decoded(decode, data, kind)


class MessagePack:
    """MessagePack by msgspec: smaller for numbers and bytes; travels as base64."""

    content_type = "application/msgpack"

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_dump)
        self._decoders: dict[type, Callable[[bytes], Any]] = {}

    def encode(self, event: object) -> bytes:
        """Return the event as MessagePack. Raises `EventError` for lone surrogates and unknown types."""
        try:
            return self._encoder.encode(event)
        except Exception as error:
            raise _unencodable(event, error) from error

    def decode(self, data: bytes, kind: type[E]) -> E:
        """Return the event. Raises `EventError` when the data is not one of that type."""
        decode = self._decoders.get(kind)
        if decode is None:
            decode = self._decoders[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_load).decode
        return _decoded(decode, data, kind)


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
) -> bytes:
    """Return the body of an event's first copy.

    Raises `EventError` for what cannot travel, `EventTooLargeError` for what leaves less than `HEADROOM` free.
    """
    data = _encoded(codec, event)
    attributes: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": wire_name,
        "time": datetime.fromtimestamp(now, UTC),
        **headers,
    }
    if delay_ms:
        attributes["dawdledelay"] = str(delay_ms)
    if cause is not None:
        attributes["dawdlecause"] = cause
    if codec.content_type == JSON.content_type:
        attributes["data"] = msgspec.Raw(data)
    else:
        attributes["datacontenttype"] = codec.content_type
        attributes["data_base64"] = data
    body = write(attributes)
    require_depth(body, f"this {type(event).__qualname__}")
    if len(body) > max_body - HEADROOM:
        raise EventTooLargeError(
            f"this {type(event).__qualname__} makes a message of {len(body):,} bytes, and the queue takes "
            f"{max_body - HEADROOM:,} ({max_body:,} less {HEADROOM:,} for what a retry adds): keep what is large "
            f"elsewhere, and signal where it is",
            size=len(body),
            limit=max_body - HEADROOM,
        )
    return body


def media_of(envelope: Envelope) -> str:
    """Return the media type of an envelope's data without its parameters; every kind of JSON is JSON."""
    if envelope.datacontenttype is None:
        return JSON.content_type
    media = envelope.datacontenttype.partition(";")[0].strip().lower()
    return JSON.content_type if media.endswith("+json") else media


def open_event(envelope: Envelope, kind: type[E], codecs: Mapping[str, Codec]) -> E:
    """Return the event in an envelope. Raises `EventError` when it is not one of that type.

    Without data it is an empty object in JSON, and no bytes at all for another codec.
    """
    media = media_of(envelope)
    codec = codecs.get(media)
    if codec is None:
        raise EventError(f"no codec here reads {shown(media)}; known: {', '.join(sorted(codecs))}")
    if envelope.data_base64 is not None:
        return _opened(codec, envelope.data_base64, kind)
    raw = bytes(envelope.data)
    if media == JSON.content_type:
        return _opened(codec, raw or b"{}", kind)
    if not raw:
        return _opened(codec, b"", kind)
    try:
        text = msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError as error:
        raise EventError(f"data of the type {shown(media)} travels as text or in data_base64: {error}") from error
    return _opened(codec, text.encode(), kind)


def _encoded(codec: Codec, event: object) -> bytes:
    """Encode by a codec that may be the user's own, and raise other errors than it was told to."""
    try:
        return codec.encode(event)
    except EventError:
        raise
    except Exception as error:
        raise _unencodable(event, error) from error


def _opened(codec: Codec, data: bytes, kind: type[E]) -> E:
    """Decode by a codec that may be the user's own, and raise other errors than it was told to."""
    try:
        return codec.decode(data, kind)
    except EventError:
        raise
    except Exception as error:  # noqa: BLE001 - raised again, as ours
        told, cause = _undecodable(kind, error), cause_without_data(error)
    raise told from cause


def _decoded(decode: Callable[[bytes], E], data: bytes, kind: type[E]) -> E:
    try:
        return decode(data)
    except Exception as error:  # noqa: BLE001 - raised again, as ours
        told, cause = _undecodable(kind, error), cause_without_data(error)
    raise told from cause


def _undecodable(kind: type[object], error: Exception) -> EventError:
    return EventError(f"the data is not a {kind.__qualname__}: {without_data(error, kind)}")


def _unencodable(event: object, error: Exception) -> EventError:
    if isinstance(error, UnicodeError):
        return EventError(
            f"this {type(event).__qualname__} holds a lone surrogate, which UTF-8 cannot carry: {error.args[-1]}"
        )
    return EventError(f"this {type(event).__qualname__} cannot be encoded: {error}")


def _plain(event: object) -> object:
    """Return an event as mappings, sequences and scalars, NaN as it is."""
    if kind_of(type(event)) == "pydantic":
        return cast("_Model", event).model_dump(mode="python", by_alias=True, warnings=False)
    return cast("object", msgspec.to_builtins(event, enc_hook=_dump))


def _require_json(data: bytes, event: object) -> None:
    try:
        msgspec.json.decode(data)
    except msgspec.MsgspecError:
        _refuse_endless(_plain(event), type(event).__qualname__, event)
        raise


def _refuse_endless(value: object, path: str, source: object = None) -> None:
    """Raise `EventError` for NaN and infinity, with the way there.

    `source` is what became the `value`; None if that is not known.
    """
    if isinstance(value, float):
        if not isfinite(value):
            raise EventError(
                f"{path} is {value}, which JSON cannot carry: send None, or a codec that can (dawdle.MessagePack())"
            )
    elif isinstance(value, (Mapping, list, tuple, set, frozenset)):
        for step, each, its_source in _within(cast("_Filled", value), source):
            _refuse_endless(each, f"{path}{step}", its_source)
    elif kind_of(type(value)) is not None:
        _refuse_endless(_plain(value), path, value)


def _within(value: "_Filled", source: object) -> Iterator[tuple[str, object, object]]:
    """Yield the step to each value within another, the value, and its source. Keys are data, so no step shows one."""
    if not isinstance(value, Mapping):
        sources = cast("Sequence[object]", source) if isinstance(source, (list, tuple)) else ()
        for index, (each, its_source) in enumerate(zip(value, chain(sources, repeat(None)), strict=False)):
            yield f"[{index}]", each, its_source
    elif kind_of(type(source)) is not None:
        for name, each in value.items():
            yield f".{name}", each, getattr(source, str(name), None)
    else:
        known: Mapping[object, object] = cast("_Known", source) if isinstance(source, Mapping) else {}
        for key, each in value.items():
            yield "[...]", each, known.get(key)


_Known = Mapping[object, object]
_Filled = Mapping[object, object] | Sequence[object] | AbstractSet[object]
