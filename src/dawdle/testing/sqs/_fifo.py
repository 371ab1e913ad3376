"""What a FIFO queue has beyond a standard one: groups that lock, five minutes of deduplication, attempt ids."""

from collections import deque
from itertools import count
from typing import Final, Generic, TypeVar

import msgspec

from dawdle.testing.sqs._message import Message

__all__ = ["DEDUPLICATION_SECONDS", "DeduplicationCache", "FifoBacklog", "FifoState", "ReceiveAttempt"]

DEDUPLICATION_SECONDS: Final = 300.0
"""Seconds for which a deduplication id, or the id of a receive attempt, is remembered."""

_FIRST_SEQUENCE: Final = 18_850_000_000_000_000_000
_SEQUENCE_STEP: Final = 256

T = TypeVar("T")


class DeduplicationCache(Generic[T]):
    """What was seen within the last five minutes, by name."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, T]] = {}
        self._expiries: deque[tuple[float, str]] = deque()

    def get(self, name: str, now: float) -> T | None:
        """Return what was kept under this name, unless that is too long ago."""
        while self._expiries and self._expiries[0][0] <= now:
            until, old = self._expiries.popleft()
            if old in self._values and self._values[old][0] == until:
                del self._values[old]
        known = self._values.get(name)
        return known[1] if known else None

    def put(self, name: str, value: T, now: float) -> None:
        """Keep `value` under a name, for five minutes from now."""
        until = now + DEDUPLICATION_SECONDS
        self._values[name] = (until, value)
        self._expiries.append((until, name))


class ReceiveAttempt(msgspec.Struct, frozen=True):
    """What a receive with an attempt id got: the messages, their receives then, and until when they are hidden."""

    messages: tuple[tuple[Message, int, float], ...]

    def is_unchanged(self) -> bool:
        """Return whether none of the messages was deleted, received again or hidden for another time since."""
        return all(
            m.state == "in_flight" and m.receive_count == receives and m.visible_at == until
            for m, receives, until in self.messages
        )


class FifoState:
    """The state that only a FIFO queue has."""

    def __init__(self) -> None:
        self.backlog = FifoBacklog()
        self.sent: DeduplicationCache[Message] = DeduplicationCache()
        self.attempts: DeduplicationCache[ReceiveAttempt] = DeduplicationCache()
        self._sequence = count(_FIRST_SEQUENCE, _SEQUENCE_STEP)

    def next_sequence(self) -> str:
        """Return a larger number than ever before, in 20 digits."""
        return str(next(self._sequence))


class _Group:
    __slots__ = ("in_flight", "is_ready", "visible")

    def __init__(self) -> None:
        self.visible: deque[Message] = deque()
        self.in_flight = 0
        self.is_ready = False


class FifoBacklog:
    """Strict order within a group; while a message of a group is held, the rest of the group is locked.

    One receive may take several messages of one group, in order. A group is listed in `_ready` while it has
    something waiting and nothing held, except during the receive that is taking from it (`served` ends that).
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ready: deque[str] = deque()

    def add(self, message: Message) -> None:
        name = message.group_id or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        place = len(group.visible)
        while place and group.visible[place - 1].serial > message.serial:
            place -= 1
        group.visible.insert(place, message)
        self._mark_ready(name, group)

    def put_back(self, message: Message) -> None:
        name = message.group_id or ""
        group = self._groups.setdefault(name, _Group())
        place = 0
        while place < len(group.visible) and group.visible[place].serial < message.serial:
            place += 1
        group.visible.insert(place, message)
        self._mark_ready(name, group)

    def pop(self) -> Message | None:
        while self._ready:
            name = self._ready[0]
            waiting = self._groups[name].visible
            while waiting:
                message = waiting.popleft()
                if message.state == "visible":
                    return message
            self._drop_first_ready()
        return None

    def lock_group(self, message: Message) -> None:
        self._groups[message.group_id or ""].in_flight += 1

    def unlock_group(self, message: Message) -> None:
        name = message.group_id or ""
        group = self._groups[name]
        group.in_flight -= 1
        self._mark_ready(name, group)
        if not group.in_flight and not group.visible and not group.is_ready:
            del self._groups[name]

    def end_receive(self) -> None:
        while self._ready and self._groups[self._ready[0]].in_flight:
            self._drop_first_ready()

    def has_next(self) -> bool:
        while self._ready:
            waiting = self._groups[self._ready[0]].visible
            while waiting and waiting[0].state != "visible":
                waiting.popleft()
            if waiting:
                return True
            self._drop_first_ready()
        return False

    def clear(self) -> None:
        self._groups.clear()
        self._ready.clear()

    def _mark_ready(self, name: str, group: _Group) -> None:
        if group.visible and not group.in_flight and not group.is_ready:
            group.is_ready = True
            self._ready.append(name)

    def _drop_first_ready(self) -> None:
        name = self._ready.popleft()
        group = self._groups[name]
        group.is_ready = False
        if not group.visible and not group.in_flight:
            del self._groups[name]
