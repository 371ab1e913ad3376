"""What a gap is: one place where data that was written does not fit the class that reads it. Finds none."""

from typing import Literal

import msgspec

__all__ = ["Gap", "Problem"]

Problem = Literal[
    "missing",
    "unknown",
    "renamed",
    "maybe_renamed",
    "default",
    "type",
    "values",
    "limits",
    "tag",
    "layout",
    "unclear",
    "unreadable",
]
"""missing: a required field is not written. unknown: a field is written that is refused. renamed: a field is written
under a name that is not read. maybe_renamed: a field gets its default, and one of the same type that is written is not
read. default: a field that is left out gets another value. type, values, limits: not every
value can be read. tag, layout: no value can be read. unclear: a value may be read as another member of a union.
unreadable: the whole type cannot be read."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One place where data does not fit."""

    path: tuple[str, ...]
    """The steps from the event to it, by names in data; an item of a container is `[]`."""
    problem: Problem
    partly: bool = False
    """Whether some values fit all the same, or the field may be left out of data."""
    written: str | None = None
    """The shape that is written there, or the name."""
    read: str | None = None
    """The shape that is read there, the name, or the default."""
    was: str | None = None
    """The name in data of a field of the same type that is gone, and that this one may have been. For one that is
    missing, only if the old one is always written."""
    owner: str | None = None
    """The class that reads it, `module.qualname`; None for the event itself."""

    @property
    def is_readable(self) -> bool:
        """Whether the data is read all the same, without some of it."""
        return self.problem == "maybe_renamed"

    @property
    def place(self) -> str:
        """The path as text: `lines[].sku`."""
        return _text(self.path)

    @property
    def place_before(self) -> str:
        """The place of the field that is gone."""
        return _text((*self.path[:-1], self.was or ""))


def _text(path: tuple[str, ...]) -> str:
    return "".join(step if step == "[]" else f".{step}" for step in path).removeprefix(".")
