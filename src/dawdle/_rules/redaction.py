"""What may be said of data that could not be read or written: what is wrong and where, and nothing of the data itself.

msgspec repeats values of enums and tags, and names of unknown fields. pydantic repeats whatever it was given, and the
place that it names may be a key of the data. What a validator of the user's own says is the user's own text, and stays.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

__all__ = ["cause_without_data", "is_pydantics", "without_data"]

_Describe = Callable[..., list[dict[str, Any]]]

_REPEATED: Final = ("Invalid enum value", "Invalid value", "Object contains unknown field")
"""What msgspec says before it repeats something."""

_PLACE: Final = " - at `$"

MAX_ERRORS_NAMED: Final = 100
"""pydantic describes all of its errors or none, and of half a million that takes a second and 240 MB."""

_TELLS_TAG: Final = "union_tag_invalid"
"""The one kind of error of pydantic's own whose message repeats what it was given."""


def without_data(error: Exception, event_type: type[object] | None = None) -> str:
    """Return what a reader said of data, without what it repeats of the data. `kind`: the type that it is not."""
    if is_pydantics(error):
        return _of_pydantic(error, event_type)
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        for begins in _REPEATED:
            if text.startswith(begins):
                at = text.rfind(_PLACE)
                return begins + (text[at:] if at > 0 else "")
    return text


def cause_without_data(error: Exception) -> Exception | None:
    """Return an error as the cause of another, None if a traceback that shows it would show data."""
    return None if is_pydantics(error) or without_data(error) != str(error) else error


def is_pydantics(error: Exception) -> bool:
    """Whether it is pydantic's ValidationError, which is not imported for that."""
    event_type = type(error)
    return (
        event_type.__name__ == "ValidationError"
        and hasattr(event_type, "errors")
        and hasattr(event_type, "error_count")
    )


def _of_pydantic(error: Exception, event_type: type[object] | None) -> str:
    count = cast("Callable[[], int]", getattr(error, "error_count"))()  # noqa: B009 - it is no attribute of every Exception
    if count > MAX_ERRORS_NAMED:
        return f"{count:,} mistakes in it, too many to name"
    describe = cast("_Describe", getattr(error, "errors"))  # noqa: B009 - it is no attribute of every Exception
    found = describe(include_url=False, include_context=False, include_input=False)
    fields = _fields_of(event_type)
    return "; ".join(_said(each) + _place(each, fields) for each in found)


def _said(described: Mapping[str, Any]) -> str:
    return _TELLS_TAG if described["type"] == _TELLS_TAG else str(described["msg"])


def _place(described: Mapping[str, Any], fields: set[str]) -> str:
    """Return the field where it was found, and nothing within: there the data may have keys of its own."""
    first = described["loc"][0] if described["loc"] else None
    return f"{_PLACE}.{first}`" if first in fields else ""


def _fields_of(event_type: type[object] | None) -> set[str]:
    """Return the names of a model's fields, and those that they have in data."""
    named: Mapping[str, Any] = getattr(event_type, "model_fields", None) or {}
    aliases = [getattr(field, alias, None) for field in named.values() for alias in ("alias", "validation_alias")]
    return {*named, *(alias for alias in aliases if isinstance(alias, str))}  # an AliasPath is none, nor hashable
