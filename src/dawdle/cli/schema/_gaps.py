"""What a gap is: one place where data that was written does not fit the class that reads it. Finds none."""

from typing import Literal

import msgspec

__all__ = ["Gap", "Problem"]

Problem = Literal[
    "missing", "unknown", "renamed", "default", "type", "values", "limits", "tag", "layout", "unclear", "unreadable"
]
"""missing: a required field is not written. unknown: a field is written that is refused. renamed: a field is written
under a name that is not read. default: a field that is left out gets another value. type, values, limits: not every
value can be read. tag, layout: no value can be read. unclear: a value may be read as another member of a union.
unreadable: the whole type cannot be read."""


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One place where data does not fit."""

    path: tuple[str, ...]
    """The steps from the event to it, by names in data; an item of a container is `[]`."""
    problem: Problem
    partly: bool = False
    """Whether some values fit all the same."""
    written: str | None = None
    """The shape that is written there, or the name."""
    read: str | None = None
    """The shape that is read there, or the name."""

    @property
    def place(self) -> str:
        """The path as text: `lines[].sku`."""
        return "".join(step if step == "[]" else f".{step}" for step in self.path).removeprefix(".")
