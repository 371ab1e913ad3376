"""Reads events: from the command line, or a line each from standard input as it comes. Stores none."""

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from io import BufferedIOBase
from typing import Final, NamedTuple, cast

import msgspec

import dawdle
from dawdle import Dawdle, EventError
from dawdle.cli._interrupt import Interrupt
from dawdle.cli._running import CommandError

__all__ = ["EventReader", "Line", "blocks_of_lines"]

BLOCK_BYTES: Final = 1 << 16
BLOCKS_AHEAD: Final = 4
"""Blocks that are read while events are stored."""

ENVELOPE_BYTES: Final = 4096
"""What a message has beside its data, at most: `signal` keeps as much free for the attributes of retries."""

ID: Final = re.compile(r"[!-~]{1,128}")
MARK: Final = b"\xef\xbb\xbf"
"""What some programs write at the beginning of a file in UTF-8."""


class Line(NamedTuple):
    """One event to signal, and where it was."""

    number: int
    """From 1; 0 for one of the command line."""
    event: object
    id: str | None = None


class _Given(msgspec.Struct):
    """A line where the command names no type: a CloudEvent, of which the rest is ignored."""

    type: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class EventReader:
    """Reads data as a worker of the app would."""

    def __init__(self, app: Dawdle, name: str | None) -> None:
        self._app = app
        self._json = dawdle.JSON()
        self._type = None if name is None else self._type_of(name)
        self._max_data = min(each.limits.max_body for each in app.backends.values()) - ENVELOPE_BYTES

    def read(self, text: bytes, number: int = 0) -> Line:
        """Return the event of a line, or of an argument. Raises `CommandError`, which says what is wrong and where."""
        try:
            if self._type is not None:
                return Line(number, self._event(self._type, text))
            given = msgspec.json.decode(text, type=_Given)
            _require_id(given.id)
            return Line(number, self._event(self._type_of(given.type), bytes(given.data)), given.id)
        except msgspec.DecodeError as error:
            what = f'{error}: a line is {{"type": "…", "data": {{…}}}}, or name the type in the command'
        except (CommandError, EventError) as error:
            what = str(error)
        raise CommandError(f"line {number}: {what}" if number else what)

    def _event(self, event_type: type[object], data: bytes) -> object:
        if len(data) > self._max_data:
            raise CommandError(f"{len(data):,} bytes of data are too many: the queue takes {self._max_data:,}")
        return self._json.decode(data, event_type)

    def _type_of(self, name: str) -> type[object]:
        """Return the class of a name on the wire, or of `module:Class`."""
        found = self._app.event_type(name)
        if found is not None:
            return found
        module, _, attribute = name.partition(":")
        if attribute:
            try:
                named: object = getattr(import_module(module), attribute)
            except (ImportError, AttributeError) as error:
                raise CommandError(f"there is no {name}: {error}") from error
            if isinstance(named, type):
                return cast("type[object]", named)
        known = [each.name for each in self._app.describe().event_types]
        near = get_close_matches(name, known, 3, cutoff=0.5)
        meant = f"did you mean {' or '.join(near)}?" if near else f"it knows {', '.join(known) or 'none'}."
        raise CommandError(
            f"this app knows no event {name!r}: {meant} A class that it does not know is named as module:Class"
        )


def _require_id(given: str | None) -> None:
    if given is not None and not ID.fullmatch(given):
        raise CommandError(f"an id is 1 to 128 printable ASCII characters without a space, not {given!r}")


async def blocks_of_lines(source: BufferedIOBase, interrupt: Interrupt) -> AsyncGenerator[Sequence[tuple[int, bytes]]]:
    """Yield lines with their numbers, as many as there are at a time, until the end or ^C. Empty ones are left out.

    They come as soon as they are there: who writes them may pause, as `tail -f` does.
    """
    # A thread that is a daemon: a read of a terminal or a pipe cannot be ended, and must not keep the process.
    blocks: asyncio.Queue[bytes] = asyncio.Queue()
    ahead = threading.Semaphore(BLOCKS_AHEAD)
    reader = threading.Thread(
        target=_read, args=(source, blocks, ahead, asyncio.get_running_loop()), name="dawdle: input", daemon=True
    )
    reader.start()
    number, rest = 0, b""
    while block := await interrupt.unless_pressed(blocks.get()):
        *lines, rest = (rest + block).split(b"\n")
        yield _numbered(lines, number)
        number += len(lines)
        ahead.release()
    if rest.strip() and not interrupt.asked:
        yield _numbered([rest], number)


def _read(
    source: BufferedIOBase, blocks: "asyncio.Queue[bytes]", ahead: threading.Semaphore, loop: asyncio.AbstractEventLoop
) -> None:
    with suppress(RuntimeError):  # the command has ended, and its loop is closed
        while True:
            ahead.acquire()
            block = source.read1(BLOCK_BYTES)  # what is there, and no more
            loop.call_soon_threadsafe(blocks.put_nowait, block)
            if not block:
                return


def _numbered(lines: Sequence[bytes], before: int) -> list[tuple[int, bytes]]:
    numbered = [(before + at, line) for at, line in enumerate(lines, start=1)]
    if numbered and not before:
        numbered[0] = (1, numbered[0][1].removeprefix(MARK))
    return [(number, line) for number, line in numbered if line.strip()]
