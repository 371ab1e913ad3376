"""How data becomes a pydantic model: much of it is looked at until its first mistake, before pydantic looks for all.

pydantic reports every mistake, and there may be more of them than bytes: 1 MiB of `{},{},…` for a list of one of five
models with five fields each makes 8.7 million errors, which take 16 s and 4 GB (Python 3.11, pydantic 2.14). A thread
would not help, since pydantic holds the interpreter's lock all that time. So data with many values is validated twice:
first by the same schema with every list and mapping in it told to stop at its first mistake, then, if there is none, as
ever. The same megabyte is refused in 7 ms. Few values cannot make many errors, and are validated once.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

from dawdle._rules.redaction import is_pydantics

__all__ = ["validated", "validated_json"]

MANY_VALUES: Final = 1000
"""In JSON; each may be wrong in as many ways as its model has fields."""

_SEQUENCES: Final = frozenset({"list", "tuple", "set", "frozenset"})
_ALL: Final = _SEQUENCES | {"deque", "dict", "frozendict", "ordered-dict", "counter"}
"""What can stop at its first mistake in pydantic-core's schemas.

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
    """What pydantic-core makes of a schema; the part of it that we use."""

    def validate_json(self, data: object, /) -> object: ...
    def validate_python(self, value: object, /) -> object: ...


def validated_json(model: type, data: bytes | str) -> object:
    """Return the model that JSON is of. Raises pydantic's ValidationError."""
    if _has_many_values(data):
        validator = _screen_of(model)
        if validator is not None:
            _screen(validator.validate_json, data)
    return cast("_Model", model).model_validate_json(data)


def validated(model: type, value: object) -> object:
    """Return the model that a value is of which no JSON can hold. Raises pydantic's ValidationError."""
    validator = _screen_of(model)
    if validator is not None:
        _screen(validator.validate_python, value)
    return cast("_Model", model).model_validate(value)


def _has_many_values(data: bytes | str) -> bool:
    """Whether JSON may hold so many values that it could be wrong in very many places. It is not parsed for that."""
    each = (",", "[", "{")
    marks = sum(map(data.count, each)) if isinstance(data, str) else sum(data.count(mark.encode()) for mark in each)
    return marks > MANY_VALUES


def _screen(validate: Callable[[object], object], value: object) -> None:
    """Raise pydantic's ValidationError for data that would have many more of them."""
    try:
        validate(value)
    except Exception as error:
        if is_pydantics(error):
            raise
        # A validator of the user's own raised something else, and does so again where it counts.


def _screen_of(model: type) -> _Validator | None:
    """Return what refuses data for a model at the first mistake; None where none can be made."""
    schema = model.__dict__.get("__pydantic_core_schema__")
    known = _screens.get(model)
    if known is None or known[0] is not schema:  # a model can be built anew
        known = _screens[model] = (schema, _made(model, schema))
    return known[1]


def _made(model: type, schema: object) -> "_Validator | None":
    """Return a validator by a schema that stops early; None for a model that validates in a way of its own."""
    from pydantic import BaseModel  # noqa: PLC0415 - who has no such model need not have it
    from pydantic_core import SchemaValidator  # noqa: PLC0415

    own = getattr(model, "model_validate_json", None)
    if getattr(own, "__func__", None) is not BaseModel.model_validate_json.__func__:  # type: ignore[attr-defined]  # a classmethod
        return None
    make = cast("Callable[..., _Validator]", SchemaValidator)
    for schema_types in (_ALL, _SEQUENCES):
        for more in ((None, False), ()):  # False: models within are not taken as they were built, which stops nowhere
            with suppress(Exception):  # an older pydantic, which knows less of it
                return make(_stopping(schema, schema_types), *more)
    return None


def _stopping(schema: Any, schema_types: frozenset[str]) -> Any:
    """Return a copy of a schema in which whatever is of these kinds stops at its first mistake."""
    if isinstance(schema, Mapping):
        copy = {key: _stopping(value, schema_types) for key, value in cast("Mapping[str, Any]", schema).items()}
        if copy.get("type") in schema_types:
            copy["fail_fast"] = True
        return copy
    if isinstance(schema, (list, tuple)):
        copies = [_stopping(each, schema_types) for each in cast("Sequence[Any]", schema)]
        return tuple(copies) if isinstance(schema, tuple) else copies
    return schema
