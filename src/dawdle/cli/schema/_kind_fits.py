"""Where the data of one class does not fit another: fields by names, or by places. Shapes are in `_fits`."""

from collections.abc import Container, Iterator, Mapping, Sequence

import msgspec

from dawdle.cli.schema._file import Kind
from dawdle.cli.schema._gaps import Gap
from dawdle.cli.schema._shapes import Shape, parse

__all__ = ["KindComparison", "choices"]


class KindComparison:
    """Compares the classes that one side writes with those that the other reads."""

    def __init__(self, writer: Mapping[str, Kind], reader: Mapping[str, Kind]) -> None:
        self.writer = writer
        """What the writer's shapes refer to."""
        self.reader = reader
        """What the reader's shapes refer to."""

    def shapes(self, written: Shape, read: Shape, path: tuple[str, ...]) -> Iterator[Gap]:
        """Yield the gaps between two shapes."""
        raise NotImplementedError

    def kinds(self, written: Kind, read: Kind, path: tuple[str, ...], owner: str | None = None) -> Iterator[Gap]:
        """Yield the gaps between two classes, enums or arguments of a function. `owner`: the class that reads."""
        for gap in self._kinds(written, read, path):
            # A gap further inside has its own class already.
            yield gap if owner is None or gap.owner is not None else msgspec.structs.replace(gap, owner=owner)

    def _kinds(self, written: Kind, read: Kind, path: tuple[str, ...]) -> Iterator[Gap]:
        if written.unreadable:  # so none was ever written
            return
        if read.unreadable:
            yield Gap(path=path, problem="unreadable")
        elif read.values is not None:
            yield from choices(written.values or (), read.values, path, "an enum")
        elif written.root is not None or read.root is not None:
            if written.root is None or read.root is None:
                yield Gap(path=path, problem="layout", written=_layout(written), read=_layout(read))
            else:
                yield from self.shapes(parse(written.root), parse(read.root), path)
        elif written.array_like != read.array_like:
            yield Gap(path=path, problem="layout", written=_layout(written), read=_layout(read))
        elif written.array_like:
            yield from self._in_order(written, read, path)
        else:
            yield from self._by_name(written, read, path)

    def _by_name(self, written: Kind, read: Kind, path: tuple[str, ...]) -> Iterator[Gap]:
        in_data = {name: field for name, field in written.fields.items() if field.written}
        written = msgspec.structs.replace(written, fields=in_data)
        yield from _tags(written, read, path)
        used: set[str] = set()
        lacking: list[str] = []
        for name, field in read.fields.items():
            found = next((each for each in field.reads or (name,) if each in written.fields), None)
            if found is not None:
                used.add(found)
                mine = written.fields[found]
                yield from self.shapes(parse(mine.type), parse(field.type), (*path, name))
                if mine.optional and field.default is None:
                    yield Gap(path=(*path, name), problem="missing", partly=True, read=field.type)
                elif mine.optional and field.default != mine.default:
                    yield Gap(
                        path=(*path, name), problem="default", partly=True, written=mine.default, read=field.default
                    )
            elif (old := _renamed(written, read, name)) is not None:
                used.add(old)
                partly = written.fields[old].optional
                yield Gap(path=(*path, name), problem="renamed", partly=partly, written=old, read=name)
            else:
                lacking.append(name)
        yield from _lacking(written, read, lacking, used, path)
        if read.forbid_unknown_fields:
            for name, field in written.fields.items():
                if name not in used:
                    yield Gap(path=(*path, name), problem="unknown", partly=field.optional, written=field.type)

    def _in_order(self, written: Kind, read: Kind, path: tuple[str, ...]) -> Iterator[Gap]:
        """Yield the gaps of structs that are written as lists, where only the place tells a field."""
        if written.tag != read.tag:
            yield Gap(path=path, problem="tag", written=str(written.tag), read=str(read.tag))
        before, after = list(written.fields.items()), list(read.fields.items())
        pairs = list(zip(before, after, strict=False))
        # A field that has another name in its place was renamed, which a list does not show, unless it moved.
        if any(old != name and (name in written.fields or old in read.fields) for (old, _), (name, _) in pairs):
            was, now = (f"a list of {', '.join(kind.fields)}" for kind in (written, read))
            yield Gap(path=path, problem="layout", written=was, read=now)
            return
        for (_, mine), (name, field) in pairs:
            yield from self.shapes(parse(mine.type), parse(field.type), (*path, name))
        for name, field in after[len(before) :]:
            if field.default is None:
                yield Gap(path=(*path, name), problem="missing", read=field.type)
        if read.forbid_unknown_fields:
            for name, field in before[len(after) :]:
                yield Gap(path=(*path, name), problem="unknown", written=field.type)


def choices(written: Sequence[object], read: Sequence[object], path: tuple[str, ...], other: str) -> Iterator[Gap]:
    """Yield the gap between two sets of values. `other`: the second as text."""
    known = {(type(value), value) for value in read}
    lost = [value for value in written if (type(value), value) not in known]
    if lost:
        partly = len(lost) < len(written)
        yield Gap(path=path, problem="values", partly=partly, written=", ".join(map(repr, lost)), read=other)


def _tags(written: Kind, read: Kind, path: tuple[str, ...]) -> Iterator[Gap]:
    """Yield the gap between two tags. Data without a tag is read by a class that has one, if no union holds it."""
    if written.tag is None:
        if read.tag_field is not None and read.tag_field in written.fields:
            yield Gap(path=path, problem="tag", written=f"the field {read.tag_field}", read=repr(read.tag))
    elif read.tag is None:
        if read.forbid_unknown_fields or written.tag_field in read.fields:
            yield Gap(path=path, problem="tag", written=repr(written.tag), read="no tag")
    elif written.tag_field != read.tag_field:
        mine, yours = (f"{kind.tag_field} = {kind.tag!r}" for kind in (written, read))
        yield Gap(path=path, problem="tag", written=mine, read=yours)
    elif written.tag != read.tag:
        yield Gap(path=path, problem="tag", written=repr(written.tag), read=repr(read.tag))


def _lacking(
    written: Kind, read: Kind, names: Sequence[str], used: Container[str], path: tuple[str, ...]
) -> Iterator[Gap]:
    """Yield the gaps of fields that are not written. What is gone may be one of them under another name."""
    known = _names_read(read)
    gone = [each for each in written.fields if each not in used and each not in known]
    for name in names:
        field = read.fields[name]
        was = next((each for each in gone if written.fields[each].type == field.type), None)
        if was is not None:
            gone.remove(was)  # each was one field at most
        optional = was is not None and written.fields[was].optional
        if field.default is None:
            yield Gap(path=(*path, name), problem="missing", read=field.type, was=None if optional else was)
        elif was is not None and not read.forbid_unknown_fields:  # or it is not read at all, which says more
            yield Gap(path=(*path, name), problem="maybe_renamed", partly=optional, read=field.default, was=was)


def _names_read(kind: Kind) -> set[str]:
    """Return the names in data that a class looks for."""
    return {each for name, field in kind.fields.items() for each in field.reads or (name,)}


def _renamed(written: Kind, read: Kind, name: str) -> str | None:
    """Return the name in data that a field had before, if the field of the class is the same."""
    attribute = read.fields[name].attribute or name
    known = _names_read(read)
    for old, field in written.fields.items():
        if old not in known and (field.attribute or old) == attribute:
            return old
    return None


def _layout(kind: Kind) -> str:
    return "a list" if kind.array_like else "an object" if kind.root is None else kind.root
