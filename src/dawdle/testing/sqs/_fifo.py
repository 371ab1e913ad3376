"""What a FIFO queue has and a standard one has not: message groups, deduplication, receive attempts."""

from collections import deque
from itertools import count
from typing import Final, Generic, TypeVar

import msgspec

from dawdle.testing.sqs._message import Message

__all__ = ["DEDUPLICATION_SECONDS", "DeduplicationCache", "FifoBacklog", "FifoState", "ReceiveAttempt"]

DEDUPLICATION_SECONDS: Final = 300.0
"""The deduplication interval of SQS, in seconds; the ids of receive attempts live as long (API reference, 2026)."""

# Any increasing numbers of 20 digits will do: SQS leaves gaps between them, so a test must not count on steps of 1.
_FIRST_SEQUENCE: Final = 18_850_000_000_000_000_000
_SEQUENCE_STEP: Final = 256

T = TypeVar("T")


class DeduplicationCache(Generic[T]):
    """Values by name, for five minutes each. A later `put` under the same name starts the five minutes anew."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[float, T]] = {}
        self._expiries: deque[tuple[float, str]] = deque()

    def get(self, name: str, now: float) -> T | None:
        """Return the value of a name, unless it was put five minutes ago or earlier."""
        while self._expiries and self._expiries[0][0] <= now:
            expiry, old = self._expiries.popleft()
            if old in self._values and self._values[old][0] == expiry:  # otherwise it was put again since
                del self._values[old]
        found = self._values.get(name)
        return found[1] if found else None

    def put(self, name: str, value: T, now: float) -> None:
        """Set the value of a name, for five minutes from `now`."""
        expiry = now + DEDUPLICATION_SECONDS
        self._values[name] = (expiry, value)
        self._expiries.append((expiry, name))


class ReceiveAttempt(msgspec.Struct, frozen=True):
    """What a receive with an attempt id returned: messages, their receive counts, and when they become visible."""

    messages: tuple[tuple[Message, int, float], ...]

    def is_unchanged(self) -> bool:
        """Return whether no message was deleted, received again or given another visibility timeout since."""
        return all(
            m.state == "in_flight" and m.receive_count == receive_count and m.visible_at == visible_at
            for m, receive_count, visible_at in self.messages
        )


class FifoState:
    """The state that only a FIFO queue has."""

    def __init__(self) -> None:
        self.backlog = FifoBacklog()
        self.sent: DeduplicationCache[Message] = DeduplicationCache()
        self.attempts: DeduplicationCache[ReceiveAttempt] = DeduplicationCache()
        self._sequence = count(_FIRST_SEQUENCE, _SEQUENCE_STEP)

    def next_sequence(self) -> str:
        """Return the next sequence number: 20 digits, larger than all before."""
        return str(next(self._sequence))


class _Group:
    __slots__ = ("in_flight", "is_ready", "visible")

    def __init__(self) -> None:
        self.visible: deque[Message] = deque()
        self.in_flight = 0
        self.is_ready = False


class FifoBacklog:
    """Strict order within a message group; while one of its messages is in flight, the rest of the group is locked.

    `_ready` names the groups that may be received from: something is visible in them, and nothing is in flight. The
    one exception is the group at its front during a receive: one receive may take several messages of a group, so the
    group stays there, though its first messages are in flight, until `end_receive`.
    """

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        self._ready: deque[str] = deque()

    def add(self, message: Message) -> None:
        name = message.group_id or ""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        # By serial, from the end: delays of one group may end out of order when the queue's delay was changed.
        place = len(group.visible)
        while place and group.visible[place - 1].serial > message.serial:
            place -= 1
        group.visible.insert(place, message)
        self._mark_ready(name, group)

    def put_back(self, message: Message) -> None:
        name = message.group_id or ""
        group = self._groups.setdefault(name, _Group())
        # By serial, from the front: a returned message takes its old place, before those that came after it.
        place = 0
        while place < len(group.visible) and group.visible[place].serial < message.serial:
            place += 1
        group.visible.insert(place, message)
        self._mark_ready(name, group)

    def pop(self) -> Message | None:
        while self._ready:
            name = self._ready[0]
            visible = self._groups[name].visible
            while visible:
                message = visible.popleft()
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
        # A group without messages is forgotten; there may be one per customer, and they come and go.
        if not group.in_flight and not group.visible and not group.is_ready:
            del self._groups[name]

    def end_receive(self) -> None:
        while self._ready and self._groups[self._ready[0]].in_flight:
            self._drop_first_ready()

    def has_next(self) -> bool:
        while self._ready:
            visible = self._groups[self._ready[0]].visible
            while visible and visible[0].state != "visible":
                visible.popleft()
            if visible:
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
