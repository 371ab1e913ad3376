"""What a FIFO queue has beyond a standard one: groups that lock, five minutes of deduplication, attempt ids."""

from collections import deque
from itertools import count
from typing import Final, Generic, TypeVar

import msgspec

from dawdle.testing.sqs._message import Message

__all__ = ["REMEMBERED", "Attempt", "GroupedLine", "Memory", "Ordering"]

REMEMBERED: Final = 300.0
"""Seconds for which a deduplication id, or the id of a receive attempt, is remembered."""

_FIRST_SEQUENCE: Final = 18_850_000_000_000_000_000
_SEQUENCE_STEP: Final = 256

T = TypeVar("T")


class Memory(Generic[T]):
    """What was seen within the last five minutes, by name."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, T]] = {}
        self._until: deque[tuple[float, str]] = deque()

    def find(self, name: str, at: float) -> T | None:
        """Return what was kept under this name, unless that is too long ago."""
        while self._until and self._until[0][0] <= at:
            until, old = self._until.popleft()
            if old in self._known and self._known[old][0] == until:
                del self._known[old]
        known = self._known.get(name)
        return known[1] if known else None

    def keep(self, name: str, value: T, at: float) -> None:
        """Keep `value` under a name, for five minutes from now."""
        until = at + REMEMBERED
        self._known[name] = (until, value)
        self._until.append((until, name))


class Attempt(msgspec.Struct, frozen=True):
    """What a receive with an attempt id got: the messages, their receives then, and until when they are hidden."""

    messages: tuple[tuple[Message, int, float], ...]

    def stands(self) -> bool:
        """Return whether none of the messages was deleted, received again or hidden for another time since."""
        return all(
            m.state == "held" and m.receives == receives and m.until == until for m, receives, until in self.messages
        )


class Ordering:
    """The state that only a FIFO queue has."""

    def __init__(self) -> None:
        self.line = GroupedLine()
        self.sent: Memory[Message] = Memory()
        self.attempts: Memory[Attempt] = Memory()
        self._sequence = count(_FIRST_SEQUENCE, _SEQUENCE_STEP)

    def next_sequence(self) -> str:
        """Return a larger number than ever before, in 20 digits."""
        return str(next(self._sequence))


class _Group:
    __slots__ = ("held", "listed", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.held = 0
        self.listed = False


class GroupedLine:
    """Strict order within a group; while a message of a group is held, the rest of the group is locked.

    One receive may take several messages of one group, in order. A group is listed in `_ready` while it has
    something waiting and nothing held, except during the receive that is taking from it (`served` ends that).
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ready: deque[str] = deque()

    def join(self, message: Message) -> None:
        name = message.group or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        place = len(group.waiting)
        while place and group.waiting[place - 1].key > message.key:
            place -= 1
        group.waiting.insert(place, message)
        self._list(name, group)

    def rejoin(self, message: Message) -> None:
        name = message.group or ""
        group = self._groups.setdefault(name, _Group())
        place = 0
        while place < len(group.waiting) and group.waiting[place].key < message.key:
            place += 1
        group.waiting.insert(place, message)
        self._list(name, group)

    def pop(self) -> Message | None:
        while self._ready:
            name = self._ready[0]
            waiting = self._groups[name].waiting
            while waiting:
                message = waiting.popleft()
                if message.state == "waiting":
                    return message
            self._unlist()
        return None

    def held(self, message: Message) -> None:
        self._groups[message.group or ""].held += 1

    def freed(self, message: Message) -> None:
        name = message.group or ""
        group = self._groups[name]
        group.held -= 1
        self._list(name, group)
        if not group.held and not group.waiting and not group.listed:
            del self._groups[name]

    def served(self) -> None:
        while self._ready and self._groups[self._ready[0]].held:
            self._unlist()

    def deliverable(self) -> bool:
        while self._ready:
            waiting = self._groups[self._ready[0]].waiting
            while waiting and waiting[0].state != "waiting":
                waiting.popleft()
            if waiting:
                return True
            self._unlist()
        return False

    def clear(self) -> None:
        self._groups.clear()
        self._ready.clear()

    def _list(self, name: str, group: _Group) -> None:
        if group.waiting and not group.held and not group.listed:
            group.listed = True
            self._ready.append(name)

    def _unlist(self) -> None:
        name = self._ready.popleft()
        group = self._groups[name]
        group.listed = False
        if not group.waiting and not group.held:
            del self._groups[name]
