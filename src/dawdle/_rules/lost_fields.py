"""What is said of a field that does not come back: where it is, why, and what to do. Names types, never values."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, cast

import msgspec

from dawdle._rules.field_types import fields_of
from dawdle._rules.pydantic_models import Model, load
from dawdle.errors import EventError
from dawdle.events import event_style

__all__ = ["Lost", "Missing", "class_for", "not_equal", "not_readable", "where_not_written"]

_PLACE: Final = "at `$"

_Fault = tuple[tuple[str, ...], str]
"""The names that a field has in data, and why it does not travel."""


class Missing:
    """The class of what is there on one side alone."""


class Lost:
    """Where two values differ: their classes, the nearest field, and the way there from the inside out."""

    __slots__ = ("field", "keys", "owner", "read", "sent", "steps")

    def __init__(self, sent: type, read: type, *, keys: bool = False) -> None:
        self.sent = sent
        self.read = read
        self.keys = keys
        self.owner: type | None = None
        self.field = ""
        self.steps: list[str] = []

    def below(self, step: str, owner: type | None = None, field: str = "") -> Self:
        """Return the same, as seen from what holds it."""
        self.steps.append(step)
        if self.owner is None and owner is not None:
            self.owner, self.field = owner, field
        return self


def class_for(generic: type, *of: str) -> str:
    """Return the class to write for a generic one, which as such does not know the types of its fields."""
    name = generic.__name__
    return f"`class {name}Of{''.join(filter(str.isidentifier, of))}({name}[{', '.join(of)}]): ...`"


def not_equal(event: object, lost: Lost) -> EventError:
    """Return the error for an event of which something would arrive as another value."""
    path = type(event).__qualname__ + "".join(reversed(lost.steps))
    sent, read = _called(lost.sent), _called(lost.read)
    what = f"it holds {sent}, and {read} would be read"
    if lost.keys:
        what = f"{read} with other keys would be read"
    elif lost.sent is lost.read:
        what = f"it holds {sent}, and another one would be read"
    return EventError(f"{path} would not arrive as it was signaled: {what}. {_advice(lost)}")


def not_readable(event: object, said: str, *, by_us: bool) -> EventError:
    """Return the error for an event that could not be read at all.

    `said`: by its reader, without data. `by_us`: by a codec of ours, so that its fields tell why.
    """
    name = type(event).__qualname__
    said = said.removeprefix(f"the data is not a {name}: ")
    for path, names, why in _suspects(event, name) if by_us else ():
        if _PLACE not in said or any(f".{each}`" in said for each in names):
            return EventError(f"{path} would not arrive: {why} ({said})")
    return EventError(f"this {name} could not be read by any handler: {said}")


def where_not_written(value: object, path: str, write: Callable[[object], object]) -> str:
    """Return the way to what in an event cannot be written. `write` raises for it, and for what holds it."""
    is_model = event_style(type(value)) == "pydantic"  # which writes itself, and what it holds in its own way
    for step, each in _parts(value):
        try:
            if is_model:
                cast("Model", value).model_dump_json(by_alias=True, round_trip=True, warnings=False, include={step[1:]})
            else:
                write(each)
        except Exception:  # noqa: BLE001 - the caller has seen it, and tells it
            is_known = not is_model or event_style(type(each)) == "pydantic"
            return where_not_written(each, path + step, write) if is_known else path + step
    return path


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what an event or a container holds, and the step there. Keys are data, so no step shows one."""
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
        return "What writes it and what reads it do not undo each other: see its codec"
    if not lost.field:
        return "Name the field in the model, with its type"
    fault = _fault_of(lost.owner, lost.field)
    if fault is not None:
        return _sentence(fault[1])
    sent = lost.sent.__qualname__
    if hasattr(lost.sent, "get_secret_value"):
        return (
            f"{_sentence(_called(lost.sent))} is written as asterisks: send the secret by another way, or write it "
            f"in the open with @field_serializer({lost.field!r}, when_used='json')"
        )
    if lost.keys:
        return (
            "Annotate the field for these keys: with dict[int, str] if they are no text, with all keys of a TypedDict"
        )
    if lost.sent is lost.read or Missing in {lost.sent, lost.read}:
        return "What writes it and what reads it do not undo each other: see its serializer, validator or __post_init__"
    if issubclass(lost.sent, lost.read):
        return f"Annotate the field with {sent}, or with a union of classes that a tag tells apart"
    if cast("Any", getattr(lost.owner, "__parameters__", None)):
        owner, of = lost.owner, lost.sent.__name__
        if event_style(owner) == "pydantic":
            return f"Signal {owner.__name__}[{of}](…), which knows its type"
        return f"Write {class_for(owner, of)}, which knows its type, and signal that"
    return f"Annotate the field with {sent}, or signal {_called(lost.read)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _suspects(value: object, path: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yield the fields of an event that may not travel, what is inside first: the path, its names in data, and why."""
    for step, each in _parts(value):
        yield from _suspects(each, path + step)
    cls = type(value)
    for name in (*(fields_of(cls) or ()), *_init_only(cls)):
        fault = _fault_of(cls, name) or _unread_type_of(cls, name)
        if fault is not None:
            yield f"{path}.{name}", fault[0], fault[1]


def _init_only(cls: type) -> Iterator[str]:
    """Yield the names of a dataclass's `InitVar`s; where annotations are text, only dataclasses knows which are."""
    for name, field in cast("dict[str, Any]", getattr(cls, "__dataclass_fields__", {})).items():
        if isinstance(field.type, dataclasses.InitVar) or str(getattr(field, "_field_type", "")) == "_FIELD_INITVAR":
            yield name


def _fault_of(cls: type, name: str) -> _Fault | None:
    """Return why a field does not travel, whatever its value; None if it may."""
    match event_style(cls):
        case "pydantic":
            return _fault_of_model(cls, name)
        case "attrs" if name.startswith("_"):
            return (name,), "msgspec writes no attrs field whose name begins with an underscore: rename it"
        case "dataclass" if name in _init_only(cls):
            return (name,), "msgspec reads no dataclass with an InitVar: make it a field"
        case _:
            return None


def _fault_of_model(cls: type, name: str) -> _Fault | None:
    field = cast("Any", cls).model_fields.get(name)
    if field is None:
        return None
    reads = _names_read(cast("Any", cls).model_config, name, field)
    if field.exclude:
        why = "the field is kept out of the message by exclude=True: remove that, or signal its default"
        return (name, *reads), why
    written = field.serialization_alias or name
    if written not in reads:
        known = " or ".join(map(repr, reads)) or "an AliasPath"
        why = f"it is written as {written!r} and read as {known}: let serialization_alias be a name that is read"
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
    """Return why the annotation of a field cannot be read, for what msgspec reads."""
    if event_style(cls) == "pydantic":
        return None
    for base in cls.__mro__:
        hint = inspect.get_annotations(base).get(name)
        if hint is None:
            continue
        alone = type(base.__name__, (), {"__annotations__": {name: hint}, "__module__": base.__module__})
        try:
            hint = typing.get_type_hints(alone, localns=dict(vars(base)), include_extras=True)[name]
        except NameError as error:
            return (name,), (
                f"its type {hint!r} is not known where {base.__qualname__} is defined ({error}): import it for run "
                f"time too, outside of `if TYPE_CHECKING:`"
            )
        except Exception as error:  # noqa: BLE001 - whatever else an annotation raises
            return (name,), f"its type {hint!r} cannot be read: {error}"
        try:
            msgspec.json.Decoder(hint, dec_hook=load)
        except Exception:  # noqa: BLE001 - what its reader said is told beside it
            return (name,), "msgspec cannot read its type"
        return None
    return None
