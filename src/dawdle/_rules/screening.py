"""Validates data as a pydantic model, and stops at the first mistake if there may be very many. Imports pydantic late.

pydantic reports every mistake, and there may be more of them than bytes. 1 MiB of `{},{},…` for a list of one of five
models with five fields each makes 8.7 million errors, which take 16 s and 4 GB (Python 3.11, pydantic 2.14). A thread
does not help, since pydantic holds the interpreter's lock all that time. So data with many values is validated twice:
first by the same schema, in which every list and mapping stops at its first mistake; then, if there is none, as usual.
The same megabyte is refused in 7 ms. Few values cannot make many errors, and are validated once.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from dawdle._rules.redaction import is_pydantics

__all__ = ["validated", "validated_json"]

MANY_VALUES: Final = 1000
"""Values in JSON above which data is validated twice. Each may be wrong in as many ways as its model has fields."""

_SEQUENCES: Final = frozenset({"list", "tuple", "set", "frozenset"})
_ALL: Final = _SEQUENCES | {"deque", "dict", "frozendict", "ordered-dict", "counter"}
"""Types of pydantic-core's schemas that can stop at the first mistake.

Tried with pydantic 2.7 (nothing can), 2.8 and 2.10 (sequences), 2.11 and 2.12 (sequences, but not those of models
within the model, which are taken as they were built) and 2.14 (all of it).
"""

_screens: WeakKeyDictionary[type, tuple[object, "_Validator | None"]] = WeakKeyDictionary()


class _Model(Protocol):
    """The part of a pydantic model that validates."""

    @classmethod
    def model_validate(cls, obj: object) -> object: ...
    @classmethod
    def model_validate_json(cls, json_data: bytes | str) -> object: ...


class _Validator(Protocol):
    """The part of pydantic-core's validator that is used here."""

    def validate_json(self, data: object, /) -> object: ...
    def validate_python(self, value: object, /) -> object: ...


def validated_json(model: type, data: bytes | str) -> object:
    """Return the model that JSON holds. Raises pydantic's ValidationError."""
    if _has_many_values(data):
        validator = _screen_of(model)
        if validator is not None:
            _screen(validator.validate_json, data)
    return cast("_Model", model).model_validate_json(data)


def validated(model: type, value: object) -> object:
    """Return the model that a value holds which JSON cannot hold. Raises pydantic's ValidationError."""
    validator = _screen_of(model)
    if validator is not None:
        _screen(validator.validate_python, value)
    return cast("_Model", model).model_validate(value)


def _has_many_values(data: bytes | str) -> bool:
    """Whether JSON may hold so many values that very many of them could be wrong. It is not parsed for that."""
    each = (",", "[", "{")
    marks = sum(map(data.count, each)) if isinstance(data, str) else sum(data.count(mark.encode()) for mark in each)
    return marks > MANY_VALUES


def _screen(validate: Callable[[object], object], value: object) -> None:
    """Raise pydantic's ValidationError at the first mistake."""
    try:
        validate(value)
    except Exception as error:
        if is_pydantics(error):
            raise
        # A validator of the user's own raised another error. The full validation raises it again.


def _screen_of(model: type) -> _Validator | None:
    """Return the validator of a model that stops at the first mistake; None if none can be made."""
    schema = model.__dict__.get("__pydantic_core_schema__")
    known = _screens.get(model)
    if known is None or known[0] is not schema:  # `model_rebuild()` gives a model a new schema
        known = _screens[model] = (schema, _made(model, schema))
    return known[1]


def _made(model: type, schema: object) -> "_Validator | None":
    """Return a validator for a copy of a schema that stops early; None for a model with a validation of its own."""
    from pydantic import BaseModel  # noqa: PLC0415 - only a program with pydantic models has it
    from pydantic_core import SchemaValidator  # noqa: PLC0415

    own = getattr(model, "model_validate_json", None)
    if getattr(own, "__func__", None) is not BaseModel.model_validate_json.__func__:  # type: ignore[attr-defined]  # a classmethod
        return None
    make = cast("Callable[..., _Validator]", SchemaValidator)
    for schema_types in (_ALL, _SEQUENCES):
        # False: models within are built from the schema again; as they are, they do not stop early.
        for more in ((None, False), ()):
            with suppress(Exception):  # an older pydantic, which supports less of it
                return make(_stopping(schema, schema_types), *more)
    return None


def _stopping(schema: Any, schema_types: frozenset[str]) -> Any:
    """Return a copy of a schema in which all parts of these types stop at their first mistake."""
    if isinstance(schema, Mapping):
        copy = {key: _stopping(value, schema_types) for key, value in cast("Mapping[str, Any]", schema).items()}
        if copy.get("type") in schema_types:
            copy["fail_fast"] = True
        return copy
    if isinstance(schema, (list, tuple)):
        copies = [_stopping(each, schema_types) for each in cast("Sequence[Any]", schema)]
        return tuple(copies) if isinstance(schema, tuple) else copies
    return schema
