"""The file that keeps what messages need of the code: its structs, and how it is read and written. Compares nothing.

It is made to be read in a diff: keys are sorted, but for the fields of a class, which keep the order that they have
there; what is usual is left out; no time and no version of dawdle is in it.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from dawdle.cli.schema._shapes import parse, references

__all__ = ["FORMAT", "Event", "Field", "Function", "Handler", "Kind", "Snapshot", "as_text", "read_text"]

FORMAT: Final = 1
"""Grows when an older dawdle could not read the file as it is meant."""


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A field of a class, or a parameter of a function, under its name in data."""

    type: str
    """The text of its shape."""
    default: str | None = None
    """As Python shows it; None: the field is required."""
    attribute: str | None = None
    """Its name in Python, where that is another one."""
    reads: tuple[str, ...] | None = None
    """The names under which it is looked for, where that is not just its own."""
    optional: bool = False
    """Whether it may be left out of the data that is written."""
    written: bool = True
    """Whether it is written at all; a model may only read it."""


class Kind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A class, an enum, or the arguments of a function: what its data looks like."""

    style: str = ""
    fields: dict[str, Field] = {}
    """By their names in data, in the order of the class."""
    values: tuple[str | int, ...] | None = None
    """Of an enum."""
    root: str | None = None
    """Of a model that is one value, such as a list: the text of its shape."""
    tag_field: str | None = None
    tag: str | int | None = None
    array_like: bool = False
    forbid_unknown_fields: bool = False
    unreadable: bool = False
    """Whether no data of it can be read, since a type in it is unknown or not supported: `signal` refuses it too."""


class Event(Kind, frozen=True, kw_only=True, omit_defaults=True):
    """A type of events."""

    type: str
    """The class, `module.qualname`; only for those who read the file."""
    aliases: tuple[str, ...] = ()
    version: int = 1
    upcasters: tuple[int, ...] = ()
    """The versions that they read."""


class Handler(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A handler of events."""

    events: tuple[str, ...]
    """The names on the wire of the types that it takes, subclasses too."""
    aliases: tuple[str, ...] = ()
    queue: str | None = None


class Function(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A function for `dawdle.call`."""

    parameters: dict[str, Field] = {}
    unreadable: bool = False
    aliases: tuple[str, ...] = ()
    queue: str | None = None

    @property
    def kind(self) -> Kind:
        """The data of its calls: arguments that a worker does not know are refused."""
        return Kind(style="struct", fields=self.parameters, forbid_unknown_fields=True, unreadable=self.unreadable)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    format: int = FORMAT
    events: dict[str, Event]
    """By their names on the wire."""
    types: dict[str, Kind]
    """What the fields refer to, `module.qualname`."""
    handlers: dict[str, Handler]
    functions: dict[str, Function]

    def shapes(self) -> Iterator[str]:
        """Yield the texts of all shapes."""
        for kind in (*self.events.values(), *self.types.values(), *(each.kind for each in self.functions.values())):
            yield from (field.type for field in kind.fields.values())
            if kind.root is not None:
                yield kind.root

    def counts(self) -> str:
        """Return what is in it, for people."""
        parts = {"event type": len(self.events), "handler": len(self.handlers), "function": len(self.functions)}
        return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in parts.items())


class _Head(msgspec.Struct):
    format: int


def as_text(snapshot: Snapshot) -> str:
    """Return a snapshot as the text of its file."""
    plain = {
        "format": snapshot.format,
        "events": _by_name(snapshot.events),
        "types": _by_name(snapshot.types),
        "handlers": _by_name(snapshot.handlers),
        "functions": _by_name(snapshot.functions),
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"


def read_text(text: str) -> Snapshot:
    """Return the snapshot in a file's text. Raises `ValueError` that says what is wrong with it."""
    try:
        head = msgspec.json.decode(text, type=_Head)
        if head.format > FORMAT:
            raise ValueError(f"it has format {head.format}, and this dawdle knows {FORMAT}: install a newer one")
        found = msgspec.json.decode(text, type=Snapshot)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is no file of `dawdle schema snapshot`: {error}") from error
    for each in found.shapes():
        for name in references(parse(each)):
            if name not in found.types:
                raise ValueError(f"it has no type {name!r}, to which {each!r} refers")
    return found


def _by_name(named: Mapping[str, object]) -> dict[str, object]:
    return {name: named[name] for name in sorted(named)}
