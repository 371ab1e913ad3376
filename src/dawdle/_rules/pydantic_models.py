"""Turns a pydantic model into data and back, by its own methods. Does not import pydantic.

Models are dumped with `round_trip`. Then computed fields are left out: a model that forbids extra fields could not read
them, and one that allows them would keep them. `Json[...]` is written as the text that it reads.
"""

from typing import Protocol, cast

from dawdle._rules.redaction import without_data
from dawdle._rules.screening import validated, validated_json
from dawdle.events import event_style

__all__ = ["Model", "dump", "load"]


class Model(Protocol):
    """The part of a pydantic model that is used here. Its warnings are off, since they repeat values."""

    def model_dump(self, *, mode: str, by_alias: bool, round_trip: bool, warnings: bool) -> dict[str, object]: ...
    def model_dump_json(
        self, *, by_alias: bool, round_trip: bool, warnings: bool, include: set[str] | None = None
    ) -> str: ...


def dump(value: object) -> object:
    """Encode a pydantic model inside a struct, which msgspec does not know."""
    if event_style(type(value)) == "pydantic":
        return cast("Model", value).model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    raise NotImplementedError(
        f"there is no encoding for the type {type(value).__qualname__}; pass text or a number instead"
    )


def load(cls: type, value: object) -> object:
    """Decode a pydantic model inside a struct, and a field of `object`, which msgspec does not know."""
    if cls is object:  # msgspec asks for it, and knows only `Any` as any value
        return value
    if event_style(cls) != "pydantic":
        raise NotImplementedError(f"there is no decoding for the type {cls.__qualname__}")
    try:
        return _validated(cls, value)
    except ValueError as error:  # pydantic's text repeats data, and msgspec would put it into its own error
        text = without_data(error, cls)
    raise ValueError(text)  # outside of the `except`, or this error would keep pydantic's alive, which may be large


def _validated(cls: type, value: object) -> object:
    import json  # noqa: PLC0415 - only a program with models inside structs needs it

    # A model is dumped in pydantic's JSON mode, so it is validated as JSON. In Python mode a strict model refuses text
    # for a date.
    try:
        text = json.dumps(value)  # of the standard library, which writes NaN as MessagePack does
    except (TypeError, ValueError):  # bytes, or a type of MessagePack that JSON has not
        return validated(cls, value)
    return validated_json(cls, text)
