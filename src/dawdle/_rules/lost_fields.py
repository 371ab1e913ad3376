"""Writes the error for a field that does not travel: where it is, why, and what to do. Names types, never values."""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, cast

import msgspec

from dawdle._rules.field_types import fields_of
from dawdle._rules.pydantic_models import Model, load
from dawdle.errors import EventError
from dawdle.events import event_style, is_call

__all__ = ["Lost", "Missing", "class_for", "faults_of", "not_equal", "not_readable", "where_not_written"]

_PLACE: Final = "at `$"

_Fault = tuple[tuple[str, ...], str]
"""The names that a field has in data, and why it does not travel."""


class Missing:
    """The class of a value that only one of two events has."""


class Lost:
    """Where two values differ: their classes, the nearest field, and the path there from the inside out."""

    __slots__ = ("field", "keys", "owner", "read", "sent", "steps")

    def __init__(self, sent: type, read: type, *, keys: bool = False) -> None:
        self.sent = sent
        self.read = read
        self.keys = keys
        self.owner: type | None = None
        self.field = ""
        self.steps: list[str] = []

    def below(self, step: str, owner: type | None = None, field: str = "") -> Self:
        """Return the difference, with one more step at the front of its path."""
        self.steps.append(step)
        if self.owner is None and owner is not None:
            self.owner, self.field = owner, field
        return self


def class_for(generic: type, *of: str) -> str:
    """Return the class to write instead of a generic one, which does not know the types of its fields."""
    name = generic.__name__
    return f"`class {name}Of{''.join(filter(str.isidentifier, of))}({name}[{', '.join(of)}]): ...`"


def not_equal(event: object, lost: Lost) -> EventError:
    """Return the error for an event in which a value would arrive as another one."""
    path = type(event).__qualname__ + "".join(reversed(lost.steps))
    sent, read = _called(lost.sent), _called(lost.read)
    what = f"it holds {sent}, and {read} would be read"
    if lost.keys:
        what = f"{read} with other keys would be read"
    elif lost.sent is lost.read:
        what = f"it holds {sent}, and another one would be read"
    given = "passed" if is_call(type(event)) else "signaled"
    return EventError(f"{path} would not arrive as it was {given}: {what}. {_advice(lost)}")


def not_readable(event: object, said: str, *, by_us: bool) -> EventError:
    """Return the error for an event that cannot be read back.

    `said`: the error of its reader, without data. `by_us`: the codec is one of ours, so the fields tell the reason.
    """
    name = type(event).__qualname__
    said = said.removeprefix(f"the data does not fit {name}: ")
    for path, names, why in _suspects(event, name) if by_us else ():
        # Where the reader names a field, only a suspect of that name can be the reason.
        if _PLACE not in said or any(f".{each}`" in said for each in names):
            return EventError(f"{path} would not arrive: {why} ({said})")
    return EventError(f"this {name} cannot be read back, so no handler could get it: {said}")


def faults_of(cls: type) -> tuple[str, ...]:
    """Return the fields of an event type that cannot travel, whatever their values: `$.card: why`, at any depth.

    A field that travels with some values and not with others is found when an event is signaled.
    """
    return tuple(_faults_below(cls, "$", set()))


def _faults_below(cls: type, path: str, known: set[type]) -> Iterator[str]:
    if cls in known:
        return
    known.add(cls)
    for name in (*(fields_of(cls) or ()), *_init_only(cls)):
        fault = _fault_of(cls, name) or _unread_type_of(cls, name)
        if fault is not None:
            yield f"{path}.{name}: {fault[1]}"
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001 - the field is in the list by now
        hints = {}
    for name in fields_of(cls) or ():
        for each in _classes_in(hints.get(name)):
            yield from _faults_below(each, f"{path}.{name}", known)


def _classes_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and event_style(hint) is not None:
        yield hint
    for each in typing.get_args(hint):
        yield from _classes_in(each)


def where_not_written(value: object, path: str, write: Callable[[object], object]) -> str:
    """Return the path to the value that cannot be written. `write` raises for it, and for all that holds it."""
    is_model = event_style(type(value)) == "pydantic"  # a model writes its fields itself, in its own way
    for step, each in _parts(value):
        try:
            if is_model:
                cast("Model", value).model_dump_json(by_alias=True, round_trip=True, warnings=False, include={step[1:]})
            else:
                write(each)
        except Exception:  # noqa: BLE001 - the caller has this error, and raises it
            is_known = not is_model or event_style(type(each)) == "pydantic"
            return where_not_written(each, path + step, write) if is_known else path + step
    return path


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield each value in an event or a container, and the step to it. Keys are data, so no step shows one."""
    if isinstance(value, Mapping):
        yield from (("[...]", each) for each in cast("Mapping[object, object]", value).values())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{index}]", each) for index, each in enumerate(cast("list[object]", value)))
    else:
        yield from ((f".{name}", getattr(value, name, None)) for name in fields_of(type(value)) or ())


def _called(cls: type) -> str:
    if cls in {Missing, type(None)}:
        return "nothing" if cls is Missing else "None"
    name = cls.__qualname__
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def _advice(lost: Lost) -> str:
    if lost.owner is None:
        return "Its codec writes and reads it differently: mend the codec"
    if not lost.field:
        return "Name the field in the model, with its type"
    fault = _fault_of(lost.owner, lost.field)
    if fault is not None:
        return _sentence(fault[1])
    sent = lost.sent.__qualname__
    if hasattr(lost.sent, "get_secret_value"):
        return (
            f"{_sentence(_called(lost.sent))} is written as asterisks: send the secret by another way, or write it "
            f"as plain text with @field_serializer({lost.field!r}, when_used='json')"
        )
    if lost.keys:
        return "Annotate the field for these keys: dict[int, str] for keys that are no text, or a TypedDict of all keys"
    if lost.sent is lost.read or Missing in {lost.sent, lost.read}:
        return "It is written and read differently: look at its serializer, validator or __post_init__"
    if is_call(lost.owner):
        return f"Pass {_called(lost.read)}, or annotate the parameter with {sent}"
    return _advice_to_annotate(lost, lost.owner, sent)


def _advice_to_annotate(lost: Lost, owner: type, sent: str) -> str:
    if issubclass(lost.sent, lost.read):
        return f"Annotate the field with {sent}, or with a union of classes that a tag tells apart"
    if cast("Any", getattr(owner, "__parameters__", None)):
        of = lost.sent.__name__
        if event_style(owner) == "pydantic":
            return f"Signal {owner.__name__}[{of}](…), which knows the type of the field"
        return f"Write {class_for(owner, of)}, which knows the type of the field, and signal that"
    return f"Annotate the field with {sent}, or signal {_called(lost.read)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _suspects(value: object, path: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the fields that may not travel, the innermost first: the path, its names in data, and why."""
    for step, each in _parts(value):
        yield from _suspects(each, path + step)
    cls = type(value)
    for name in (*(fields_of(cls) or ()), *_init_only(cls)):
        fault = _fault_of(cls, name) or _unread_type_of(cls, name)
        if fault is not None:
            yield f"{path}.{name}", fault[0], fault[1]


def _init_only(cls: type) -> Iterator[str]:
    """Yield the names of a dataclass's `InitVar`s. If annotations are text, only `dataclasses` knows them."""
    import dataclasses  # noqa: PLC0415 - only an event that cannot travel needs it

    for name, field in cast("dict[str, Any]", getattr(cls, "__dataclass_fields__", {})).items():
        if isinstance(field.type, dataclasses.InitVar) or str(getattr(field, "_field_type", "")) == "_FIELD_INITVAR":
            yield name


def _fault_of(cls: type, name: str) -> _Fault | None:
    """Return why a field does not travel, whatever its value; None if it may."""
    match event_style(cls):
        case "pydantic":
            return _fault_of_model(cls, name)
        case "attrs" if name.startswith("_"):
            return (name,), "msgspec does not write attrs fields whose names begin with an underscore: rename it"
        case "dataclass" if name in _init_only(cls):
            return (name,), "msgspec cannot read a dataclass with an InitVar: make it a field"
        case _:
            return None


def _fault_of_model(cls: type, name: str) -> _Fault | None:
    field = cast("Any", cls).model_fields.get(name)
    if field is None:
        return None
    reads = _names_read(cast("Any", cls).model_config, name, field)
    if field.exclude:
        why = "the option exclude=True keeps the field out of the message: remove it, or signal the default"
        return (name, *reads), why
    written = field.serialization_alias or name
    if written not in reads:
        known = " or ".join(map(repr, reads)) or "an AliasPath"
        why = f"it is written as {written!r} and read as {known}: set serialization_alias to a name that is read"
        return (name, *reads), why
    return None


def _names_read(config: Mapping[str, object], name: str, field: Any) -> tuple[str, ...]:
    """Return the names under which pydantic looks for a field in data."""
    alias = field.validation_alias
    if alias is None:
        return (name,)
    choices: list[object] = list(getattr(alias, "choices", [alias]))
    found = [each for each in choices if isinstance(each, str)] if config.get("validate_by_alias", True) else []
    if config.get("populate_by_name") or config.get("validate_by_name"):
        found.append(name)
    return tuple(found)


def _unread_type_of(cls: type, name: str) -> _Fault | None:
    """Return why msgspec cannot read the annotation of a field; None if it can, and for a pydantic model."""
    if event_style(cls) == "pydantic":
        return None
    for base in cls.__mro__:
        hint = inspect.get_annotations(base).get(name)
        if hint is None:
            continue
        # The field is put into a class of its own, so that one unknown name does not hide the types of all others.
        alone = type(base.__name__, (), {"__annotations__": {name: hint}, "__module__": base.__module__})
        try:
            hint = typing.get_type_hints(alone, localns=dict(vars(base)), include_extras=True)[name]
        except NameError as error:
            return (name,), (
                f"its type {hint!r} is not known where {base.__qualname__} is defined ({error}): import it outside of "
                f"`if TYPE_CHECKING:`"
            )
        except Exception as error:  # noqa: BLE001 - whatever else an annotation raises
            return (name,), f"its type {hint!r} cannot be read: {error}"
        try:
            msgspec.json.Decoder(hint, dec_hook=load)
        except Exception:  # noqa: BLE001 - the reader's own error is shown beside it
            return (name,), "msgspec cannot read its type"
        return None
    return None
