"""How a pydantic model becomes data and comes back, by its own methods. Imports no pydantic.

It is dumped for what pydantic calls a round trip: computed fields are left out, since a model that forbids extra fields
could not read them and one that allows them would keep them, and `Json[...]` is written as the text that it reads.
"""

import json
from typing import Protocol, cast

from dawdle._rules.redaction import without_data
from dawdle._rules.screening import validated, validated_json
from dawdle.events import event_style

__all__ = ["Model", "dump", "load"]


class Model(Protocol):
    """The part of a pydantic model that we touch. Its warnings repeat the values that they are about."""

    def model_dump(self, *, mode: str, by_alias: bool, round_trip: bool, warnings: bool) -> dict[str, object]: ...
    def model_dump_json(
        self, *, by_alias: bool, round_trip: bool, warnings: bool, include: set[str] | None = None
    ) -> str: ...


def dump(value: object) -> object:
    """Encode what msgspec does not know: a pydantic model inside a struct."""
    if event_style(type(value)) == "pydantic":
        return cast("Model", value).model_dump(mode="json", by_alias=True, round_trip=True, warnings=False)
    raise NotImplementedError(f"a {type(value).__qualname__} cannot be encoded")


def load(cls: type, value: object) -> object:
    """Decode what msgspec does not know: a pydantic model inside a struct, and a field of `object`.

    A model was dumped in pydantic's JSON mode, so it is validated as JSON: a strict one takes text for a date only so.
    """
    if cls is object:  # for msgspec no word for anything, as `Any` is
        return value
    if event_style(cls) != "pydantic":
        raise NotImplementedError(f"a {cls.__qualname__} cannot be decoded")
    try:
        return _validated(cls, value)
    except ValueError as error:  # pydantic's, whose text msgspec would make its own
        text = without_data(error, cls)
    raise ValueError(text)  # out here, so that it does not keep pydantic's alive, which may be large


def _validated(cls: type, value: object) -> object:
    try:
        text = json.dumps(value)  # which carries NaN, as MessagePack does
    except (TypeError, ValueError):  # bytes, and what else a foreign MessagePack may hold
        return validated(cls, value)
    return validated_json(cls, text)
