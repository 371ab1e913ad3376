"""What a disk holds after a power cut, by the journal of what was written to it: pure, values in and value out.

A write is safe when a sync that began after it has ended; a file's name, when its directory was synced. Of all else the
disk may hold any part: it writes in whatever order, and tears a write between two sectors.
"""

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Final, NamedTuple

RECORD: Final = struct.Struct("<c3xIQQ")
SECTOR: Final = 512
LOG_HEADER: Final = 32
FRAME_HEADER: Final = 24


class Record(NamedTuple):
    """A line of the journal: what was done to which file. `b"A"` is a text that a program wrote into it."""

    what: bytes
    file: int
    at: int
    data: bytes


def records(journal: bytes) -> Iterator[Record]:
    """Read a journal. It may end within a record, if its writer was killed."""
    at = 0
    while at + RECORD.size <= len(journal):
        what, length, file, where = RECORD.unpack_from(journal, at)
        at += RECORD.size + length
        if at <= len(journal):
            yield Record(what, file, where, journal[at - length : at])


def text(line: str) -> bytes:
    """Return the record that a program writes to say what it was told."""
    return RECORD.pack(b"A", len(line.encode()), 0, 0) + line.encode()


class Write(NamedTuple):
    """Bytes at a place; None: the file was cut to that size."""

    at: int
    data: bytes | None


@dataclass
class File:
    """A file: its bytes that are safe, and what was done to it since."""

    kind: str
    content: bytearray = field(default_factory=bytearray)
    """What a program reads, as long as there is power."""

    safe: bytearray = field(default_factory=bytearray)
    unsafe: list[Write] = field(default_factory=list)
    syncing: dict[int, int] = field(default_factory=dict)
    """By the thread that syncs: how many of `unsafe` were there when that began."""

    def write(self, write: Write) -> None:
        apply(self.content, write)
        self.unsafe.append(write)

    def sync(self, count: int, *, failed: bool = False) -> None:
        """Make the first writes safe. Of a sync that failed they never are: a system takes them for written then."""
        for write in self.unsafe[:count]:
            if not failed or write.data is None:  # to cut a file writes no page
                apply(self.safe, write)
        del self.unsafe[:count]
        self.syncing = {thread: max(0, seen - count) for thread, seen in self.syncing.items()}

    def torn(self, random: Random) -> bytes:
        """Return the safe bytes and some of what was done since, sector by sector, in any order."""
        content, share = bytearray(self.safe), random.choice([0.1, 0.5, 0.9, 1.0])
        if random.random() < 0.3:  # in order, up to some moment
            kept = self.unsafe[: random.randint(0, len(self.unsafe))]
        else:
            kept = [write for write in self.unsafe if write.data is not None or random.random() < share]
        parts = [part for write in kept for part in sectors(write) if random.random() < share]
        if random.random() < 0.5:
            random.shuffle(parts)
        for part in parts:
            apply(content, part)
        return bytes(content)


def apply(content: bytearray, write: Write) -> None:
    if write.data is None:
        del content[write.at :]
        content.extend(bytes(write.at - len(content)))
    else:
        content.extend(bytes(max(0, write.at - len(content))))
        content[write.at : write.at + len(write.data)] = write.data


def sectors(write: Write) -> Iterator[Write]:
    if write.data is None:
        yield write
        return
    at, end = write.at, write.at + len(write.data)
    while at < end:
        upto = min(end, (at // SECTOR + 1) * SECTOR)
        yield Write(at, write.data[at - write.at : upto - write.at])
        at = upto


class Disk:
    """The files of one directory, and which of their names are safe."""

    def __init__(self) -> None:
        self._names: dict[str, File] = {}
        self._files: dict[int, File] = {}
        self._safe_names: dict[str, File] = {}
        self._unsafe_names: list[tuple[str, File | None]] = []
        self._syncing: dict[int, int] = {}
        self.commits = 0
        """Transactions that wrote to the log."""

        self.synced = 0
        """Those that were synced before the log was written to again."""

        self.restarts = 0
        """How often the log was begun from its start."""

        self.syncs: Counter[str] = Counter()
        """By the kind of a file: `""` for the database, `-wal`, `-journal`."""

        self.failed_syncs = 0
        self._committed = False

    def do(self, record: Record) -> None:
        """Do what a record says."""
        what, number, at, data = record
        if what == b"O":
            self._open(data.decode("latin-1"), number)
        elif what == b"U":
            self._unlink(data.decode("latin-1"), number)
        elif what == b"W":
            self._count(self._files[number], at, data)
            self._files[number].write(Write(at, data))
        elif what == b"T":
            self._files[number].write(Write(at, None))
        elif what == b"s":
            self._files[number].syncing[at] = len(self._files[number].unsafe)
        elif what == b"S":
            self._count_sync(self._files[number].kind)
            self._files[number].sync(self._files[number].syncing.pop(at))
        elif what == b"F":
            self.failed_syncs += 1
            self._files[number].sync(self._files[number].syncing.pop(at), failed=True)
        elif what == b"d":
            self._syncing[at] = len(self._unsafe_names)
        elif what == b"D":
            self._sync_names(self._syncing.pop(at))

    def _open(self, name: str, number: int) -> None:
        if name not in self._names or self._names[name] is not self._files.get(number):
            self._names[name] = self._files[number] = File(name.rpartition(".db")[2])
            self._unsafe_names.append((name, self._names[name]))

    def _unlink(self, name: str, number: int) -> None:
        if name in self._names and self._names[name] is self._files.get(number):
            del self._names[name]  # who has it open still writes to it
            self._unsafe_names.append((name, None))

    def _sync_names(self, count: int) -> None:
        for name, file in self._unsafe_names[:count]:
            _rename(self._safe_names, name, file)
        del self._unsafe_names[:count]
        self._syncing = {thread: max(0, seen - count) for thread, seen in self._syncing.items()}

    def _count(self, file: File, at: int, data: bytes) -> None:
        if file.kind == "-wal" and len(data) == FRAME_HEADER:
            # The page follows it. Only in the last frame of a transaction it has the size of the database.
            self._committed = data[4:8] != bytes(4)
            self.commits += self._committed
        elif file.kind == "-wal":
            self.restarts += at == 0 and len(data) == LOG_HEADER

    def _count_sync(self, kind: str) -> None:
        self.syncs[kind] += 1
        if kind == "-wal":
            self.synced += self._committed
            self._committed = False

    def with_power(self) -> dict[str, bytes]:
        """Return what the programs read."""
        return {name: bytes(file.content) for name, file in self._names.items()}

    def after_a_cut(self, random: Random | None) -> dict[str, bytes]:
        """Return what is left after a power cut: what is safe alone, or by chance some of the rest as well."""
        names = dict(self._safe_names)
        if random is None:
            return {name: bytes(file.safe) for name, file in names.items()}
        for name, file in self._unsafe_names[: random.randint(0, len(self._unsafe_names))]:
            _rename(names, name, file)
        return {name: file.torn(random) for name, file in names.items()}


def _rename(names: dict[str, File], name: str, file: File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file
