"""Removes data from the errors of readers: what is wrong and where stays, no value does. Errors in, text out.

msgspec repeats values of enums and tags, and names of unknown fields. pydantic repeats any input, and the location in
its errors may be a key of the data. The text of a user's own validator stays: it is the user's own.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

__all__ = ["cause_without_data", "is_pydantics", "without_data"]

_Describe = Callable[..., list[dict[str, Any]]]

_REPEATED: Final = ("Invalid enum value", "Invalid value", "Object contains unknown field")
"""The texts of msgspec that end with a piece of data."""

_PLACE: Final = " - at `$"

MAX_ERRORS_NAMED: Final = 100
"""pydantic describes all of its errors or none. For half a million errors that takes a second and 240 MB."""

_TELLS_TAG: Final = "union_tag_invalid"
"""The only error of pydantic's own whose message repeats its input."""


def without_data(error: Exception, event_type: type[object] | None = None) -> str:
    """Return the text of a reader's error without data. `event_type`: the type that the data should be of."""
    if is_pydantics(error):
        return _of_pydantic(error, event_type)
    text = str(error)
    if isinstance(error, msgspec.ValidationError):
        for begins in _REPEATED:
            if text.startswith(begins):
                at = text.rfind(_PLACE)  # the last one: the data before it may hold the same words
                return begins + (text[at:] if at > 0 else "")
    return text


def cause_without_data(error: Exception) -> Exception | None:
    """Return an error as the cause of another; None if its traceback would show data."""
    return None if is_pydantics(error) or without_data(error) != str(error) else error


def is_pydantics(error: Exception) -> bool:
    """Whether it is pydantic's ValidationError. pydantic is not imported to find out."""
    cls = type(error)
    return cls.__name__ == "ValidationError" and hasattr(cls, "errors") and hasattr(cls, "error_count")


def _of_pydantic(error: Exception, event_type: type[object] | None) -> str:
    # Counted before they are described: `errors()` builds all of them.
    count = cast("Callable[[], int]", getattr(error, "error_count"))()  # noqa: B009 - it is no attribute of every Exception
    if count > MAX_ERRORS_NAMED:
        return f"it has {count:,} mistakes, too many to list"
    describe = cast("_Describe", getattr(error, "errors"))  # noqa: B009 - it is no attribute of every Exception
    found = describe(include_url=False, include_context=False, include_input=False)
    fields = _fields_of(event_type)
    return "; ".join(_said(each) + _place(each, fields) for each in found)


def _said(described: Mapping[str, Any]) -> str:
    return _TELLS_TAG if described["type"] == _TELLS_TAG else str(described["msg"])


def _place(described: Mapping[str, Any], fields: set[str]) -> str:
    """Return the field in which a mistake is. What is inside of it is left out: there the keys may be data."""
    first = described["loc"][0] if described["loc"] else None
    return f"{_PLACE}.{first}`" if first in fields else ""


def _fields_of(event_type: type[object] | None) -> set[str]:
    """Return the names of a model's fields, and their names in data."""
    named: Mapping[str, Any] = getattr(event_type, "model_fields", None) or {}
    aliases = [getattr(field, alias, None) for field in named.values() for alias in ("alias", "validation_alias")]
    return {*named, *(alias for alias in aliases if isinstance(alias, str))}  # an AliasPath is none, nor hashable
