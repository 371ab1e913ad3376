"""Where data that one shape writes does not fit the shape that reads it. Shapes in, gaps out; asks no class.

A gap is reported only where it is sure or may be: what passes is read, for every value. The rules are those of msgspec,
which is strict, and of pydantic as far as it agrees; codecs other than JSON count too, so a datetime is no text.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from dawdle.cli.schema._file import Kind
from dawdle.cli.schema._gaps import Gap
from dawdle.cli.schema._kind_fits import KindComparison, choices
from dawdle.cli.schema._limits import keeps
from dawdle.cli.schema._shapes import (
    ANY,
    SCALARS,
    Choice,
    Items,
    Limits,
    Map,
    Opaque,
    Ref,
    Row,
    Scalar,
    Shape,
    Union,
    parse,
    references,
)

__all__ = ["gaps_between"]

WIDER: Final = {
    "int": ("float", "Decimal"),
    "float": ("Decimal",),
    **dict.fromkeys(("UUID", "Decimal", "date", "time", "timedelta"), ("str",)),
}
"""What else reads a scalar: numbers, and text where the data is text in every codec."""

CONVERTED: Final = SCALARS - {"Any", "None", "bool", "int", "float", "str"}
"""Scalars that are text or numbers in data: a union with a text or a number in it may read them as that."""


def gaps_between(written: Kind, read: Kind, writer: Mapping[str, Kind], reader: Mapping[str, Kind]) -> list[Gap]:
    """Return where data that one side writes does not fit the other side's class; both with what they refer to."""
    return list(_Comparison(writer, reader).kinds(written, read, ()))


class _Comparison(KindComparison):
    """Compares what one side writes with what the other reads, each pair of classes once on a path."""

    def __init__(self, writer: Mapping[str, Kind], reader: Mapping[str, Kind]) -> None:
        super().__init__(writer, reader)
        self._visited: set[tuple[str, str]] = set()

    def shapes(self, written: Shape, read: Shape, path: tuple[str, ...]) -> Iterator[Gap]:
        """Yield the gaps between two shapes."""
        if read == ANY or (written == read and not any(references(written))):
            return
        if isinstance(written, Union) or isinstance(read, Union):
            yield from self._unions(_members(written), _members(read), written, read, path)
            return
        mismatch = Gap(
            path=path, problem="type", partly=_fits_partly(written, read), written=str(written), read=str(read)
        )
        match written:
            case Ref():
                yield from self._reference(written, read, mismatch)
            case Items() | Row() | Map():
                yield from self._holders(written, read, mismatch)
            case _:
                yield from self._values(written, read, mismatch)

    def _values(self, written: Shape, read: Shape, mismatch: Gap) -> Iterator[Gap]:
        """Yield the gaps of a value without parts."""
        match written, read:
            case Scalar(), Scalar() if written.name == read.name or read.name in WIDER.get(written.name, ()):
                yield from _limits(written.limits, read.limits, mismatch)
            case Opaque(), Opaque() if written.name == read.name:
                yield from _limits(written.limits, read.limits, mismatch)
            case Choice(), Choice():
                yield from choices(written.values, read.values, mismatch.path, str(read))
            case Choice(), Ref() if (values := self.reader[read.name].values) is not None:
                yield from choices(written.values, values, mismatch.path, str(read))
            case Choice(), Scalar() if all(_is_a(value, read.name) for value in written.values):
                yield from _limits((), read.limits, mismatch)
            case _:
                yield mismatch

    def _holders(self, written: Shape, read: Shape, mismatch: Gap) -> Iterator[Gap]:
        """Yield the gaps of lists, tuples and dicts."""
        inside = (*mismatch.path, "[]")
        match written, read:
            case Items(), Items() if written.name == read.name or read.name != "set":
                yield from self.shapes(written.item, read.item, inside)
                yield from _limits(written.limits, read.limits, mismatch)
            case Row(), Items() if read.name != "set":
                for item in written.items:
                    yield from self.shapes(item, read.item, inside)
                yield from _limits((), read.limits, mismatch)
            case Row(), Row() if len(written.items) == len(read.items):
                for mine, yours in zip(written.items, read.items, strict=True):
                    yield from self.shapes(mine, yours, inside)
            case Map(), Map():
                if any(self.shapes(written.key, read.key, ())) or _are_other_keys(written.key, read.key):
                    yield mismatch
                yield from self.shapes(written.value, read.value, inside)
                yield from _limits(written.limits, read.limits, mismatch)
            case _:
                yield mismatch

    def _reference(self, written: Ref, read: Shape, mismatch: Gap) -> Iterator[Gap]:
        """Yield the gaps of a class, or of an enum: that is the choice of its values."""
        mine = self.writer[written.name]
        if mine.values is not None and not isinstance(read, Ref):
            yield from self.shapes(Choice(mine.values), read, mismatch.path)
        elif isinstance(read, Ref) and (mine.values is None) == (self.reader[read.name].values is None):
            pair = (written.name, read.name)
            if pair not in self._visited:  # a class may hold itself, and its gaps are told once
                self._visited.add(pair)
                yield from self.kinds(mine, self.reader[read.name], mismatch.path, read.name)
                self._visited.discard(pair)
        elif read != Map(Scalar("str"), ANY) or mine.root is not None or mine.array_like:
            yield mismatch

    def _unions(
        self, written: Sequence[Shape], read: Sequence[Shape], one: Shape, other: Shape, path: tuple[str, ...]
    ) -> Iterator[Gap]:
        """Yield the gaps where one of the two is a union: each member that is written needs one that reads it."""
        if ANY in read:
            return
        fitting = 0
        gaps: list[Gap] = []
        for each in written:
            rivals = [shape for shape in read if self._competes(each, shape)]
            found = [list(self.shapes(each, shape, path)) for shape in rivals]
            fits = [mine for mine in found if all(gap.is_readable for gap in mine)]
            if fits:
                if self._is_unclear(each, rivals, written):
                    gaps.append(Gap(path=path, problem="unclear", partly=True, written=str(each), read=str(other)))
                else:
                    fitting += 1
                    fewest: list[Gap] = min(fits, key=len)
                    gaps += fewest
            elif len(rivals) == 1:  # the one that is meant, so its own gaps tell more
                gaps += found[0]
            else:
                gaps.append(Gap(path=path, problem="type", written=str(each), read=str(other)))
        for gap in gaps:
            if gap.problem == "type" and gap.path == path:
                texts = {"written": self._told(one, self.writer), "read": self._told(other, self.reader)}
                gap = msgspec.structs.replace(gap, **texts)  # noqa: PLW2901 - the same gap, with the whole union
            yield msgspec.structs.replace(gap, partly=gap.partly or fitting > 0)

    def _told(self, shape: Shape, kinds: Mapping[str, Kind]) -> str:
        """Return a union as text, with the tags of classes that have another one on the other side."""
        return " | ".join(f"{each}{self._other_tag(each, kinds)}" for each in _members(shape))

    def _other_tag(self, shape: Shape, kinds: Mapping[str, Kind]) -> str:
        if not isinstance(shape, Ref):
            return ""
        tags = {side[shape.name].tag for side in (self.writer, self.reader) if shape.name in side}
        return f"(tag={kinds[shape.name].tag!r})" if len(tags) > 1 else ""

    def _competes(self, written: Shape, read: Shape) -> bool:
        """Whether a member of a union may be the one that reads a shape, by what both are in data."""
        if isinstance(written, Ref) and isinstance(read, Ref):
            mine, yours = self.writer[written.name], self.reader[read.name]
            return self._form(written, self.writer) == self._form(read, self.reader) and not _told_apart(mine, yours)
        return self._form(written, self.writer) == self._form(read, self.reader) or not any(
            self.shapes(written, read, ())
        )

    def _is_unclear(self, written: Shape, rivals: Sequence[Shape], whole: Sequence[Shape]) -> bool:
        """Whether another member of a union may take a value, one that could not in the union of its writer."""
        if len(rivals) == 1:
            return False
        if self._form(written, self.writer) in {"object", "array"}:
            return any(rival not in whole for rival in rivals)
        # pydantic takes the first of those that read a value as it is: a text may be a date as well.
        meant = next((each for each in rivals if each == written), None)
        before = rivals if meant is None else rivals[: rivals.index(meant)]
        fits = next((each for each in before if not any(self.shapes(written, each, ()))), None)
        first = before if fits is None or meant is not None else before[: before.index(fits)]
        known = whole[: whole.index(written)]
        return _is_text(written, self.writer) and any(
            each not in known and _is_text(each, self.reader) for each in first
        )

    def _form(self, shape: Shape, kinds: Mapping[str, Kind]) -> str:
        """Return what a shape is in data: text and numbers are one form, since some readers turn one into the other."""
        match shape:
            case Scalar(name="None") | Scalar(name="bool"):
                return shape.name
            case Items() | Row():
                return "array"
            case Map():
                return "object"
            case Ref() if (kind := kinds[shape.name]).values is None:
                return "array" if kind.array_like else "object" if kind.root is None else "any"
            case Opaque():
                return shape.name
            case _:
                return "scalar"


def _is_text(shape: Shape, kinds: Mapping[str, Kind]) -> bool:
    """Whether some values of a shape are texts in data."""
    match shape:
        case Scalar():
            return shape.name in CONVERTED or shape.name == "str"
        case Choice():
            return any(isinstance(value, str) for value in shape.values)
        case Ref():
            return any(isinstance(value, str) for value in kinds[shape.name].values or ())
        case _:
            return False


def _told_apart(written: Kind, read: Kind) -> bool:
    """Whether a value of one class cannot be one of the other: by their tags, or by fields of other literals."""
    if written.tag is not None and read.tag is not None:
        return written.tag != read.tag
    for name, field in written.fields.items():
        other = read.fields.get(name)
        if other is not None:
            mine, yours = parse(field.type), parse(other.type)
            if isinstance(mine, Choice) and isinstance(yours, Choice) and not set(mine.values) & set(yours.values):
                return True
    return False


def _limits(written: Limits, read: Limits, mismatch: Gap) -> Iterator[Gap]:
    if not keeps(written, read):
        yield msgspec.structs.replace(mismatch, problem="limits", partly=True)


def _fits_partly(written: Shape, read: Shape) -> bool:
    """Whether some values fit although their shapes differ."""
    return written == ANY or (
        isinstance(written, Scalar) and isinstance(read, Choice) and written.name in {"str", "int"}
    )


def _are_other_keys(written: Shape, read: Shape) -> bool:
    """Whether keys are converted on one side only: JSON has text alone for keys, and other codecs have not."""
    return (
        isinstance(written, Scalar)
        and isinstance(read, Scalar)
        and (written.name, dict(written.limits).get("as_text")) != (read.name, dict(read.limits).get("as_text"))
    )


def _is_a(value: object, name: str) -> bool:
    kind = "None" if value is None else type(value).__name__
    return name == kind or name in WIDER.get(kind, ())


def _members(shape: Shape) -> Sequence[Shape]:
    return shape.members if isinstance(shape, Union) else (shape,)
