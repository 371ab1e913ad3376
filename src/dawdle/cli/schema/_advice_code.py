"""The code that an advice tells to write: an upcaster, a name that is kept. Texts only."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from dawdle.cli.schema._file import Event, Kind
from dawdle.cli.schema._gaps import Gap

__all__ = ["Subject", "forbidding", "in_class", "kept_name", "short", "upcaster_body", "versioned"]

_MODULES: Final = re.compile(r"\b(?:[a-zA-Z_]\w*\.)+(?=[a-zA-Z_])")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What findings are about: a type of events, or a function."""

    where: str
    name: str
    """On the wire, as the new code has it."""
    event: Event | None = None
    """The type in the new code; None for a function."""
    reader: Kind
    """The type as the code has it that reads: the new one, or that of old workers."""
    types: Mapping[str, Kind]
    """What its fields refer to."""

    def read_by(self, gap: Gap) -> Kind:
        """Return the class that reads where a gap is."""
        return self.reader if gap.owner is None else self.types[gap.owner]


def upcaster_body(gap: Gap) -> str:
    """Return the body of the upcaster that closes a gap, as far as it can be known."""
    if len(gap.path) != 1:
        return "the data of the next version"
    name = gap.path[0]
    match gap.problem:
        case "missing":
            value = "…" if gap.was is None else f'data.pop("{gap.was}")'
            return f'data["{name}"] = {value}; return data'
        case "maybe_renamed" if not gap.partly:
            return f'data["{name}"] = data.pop("{gap.was}"); return data'
        case "unknown":
            removed = f'data.pop("{name}", None)' if gap.partly else f'del data["{name}"]'
            return f"{removed}; return data"
        case "default":
            return f'data.setdefault("{name}", {gap.written}); return data'
        case "renamed" if not gap.partly:
            return f'data["{gap.read}"] = data.pop("{gap.written}"); return data'
        case _:
            return f'data["{name}"] = …; return data'


def versioned(subject: Subject, body: str) -> str:
    """Return how to make the change a version of its own."""
    event = subject.event
    version = 1 if event is None else event.version
    known = "" if event is None else "".join(f"{each}: …, " for each in event.upcasters)
    code = f"def upcast(data): {body}" if "return data" in body else f"an upcast(data) that returns {body}"
    return f'@dawdle.event("{subject.name}", version={version + 1}, upcasters={{{known}{version}: upcast}}) with {code}'


def kept_name(subject: Subject, gap: Gap, old: str) -> str:
    """Return how a field keeps the name that it had in data."""
    kind, name = subject.read_by(gap), gap.path[-1]
    field = kind.fields.get(name)
    attribute = name if field is None or field.attribute is None else field.attribute
    within = in_class(gap)
    match kind.style:
        case "struct":
            return f'keep the name in data{within}: {attribute}: … = msgspec.field(name="{old}")'
        case "pydantic":
            return f'read both names{within}: {attribute}: … = Field(validation_alias=AliasChoices("{name}", "{old}"))'
        case _:
            return f"keep the name {old!r}{within}"


def forbidding(kind: Kind) -> str:
    """Return the option of a class that makes it refuse unknown fields."""
    return 'extra="forbid"' if kind.style == "pydantic" else "forbid_unknown_fields"


def in_class(gap: Gap) -> str:
    """Return in which class something is to be written; nothing for the event itself."""
    return "" if gap.owner is None else f" in {short(gap.owner)}"


def short(shape: str | None) -> str:
    """Return the text of a shape without the modules of its classes."""
    return _MODULES.sub("", shape or "")
