"""In which order visible messages are received: the interface, and a standard queue. FIFO queues have `_fifo`."""

from collections import deque
from typing import Protocol

from dawdle.testing.sqs._message import Message

__all__ = ["Backlog", "StandardBacklog"]


class Backlog(Protocol):
    """The visible messages of one queue. Those that are deleted meanwhile are skipped when their turn comes."""

    def add(self, message: Message) -> None:
        """Add a message that becomes visible for the first time."""
        ...

    def put_back(self, message: Message) -> None:
        """Add a message that was in flight."""
        ...

    def pop(self) -> Message | None:
        """Remove and return the next message that may be received."""
        ...

    def lock_group(self, message: Message) -> None:
        """Note that a popped message is in flight: a FIFO queue locks its message group."""
        ...

    def unlock_group(self, message: Message) -> None:
        """Note that a message is not in flight any more: it was deleted, or is about to be put back."""
        ...

    def end_receive(self) -> None:
        """Note that one receive has popped all its messages: groups that it locked are locked for the next one."""
        ...

    def has_next(self) -> bool:
        """Return whether `pop` would return a message."""
        ...

    def clear(self) -> None:
        """Remove every message."""
        ...


class StandardBacklog:
    """Best-effort order: returned messages first, then the oldest. Every step costs the same at any length."""

    __slots__ = ("_new", "_returned")

    def __init__(self) -> None:
        self._new: deque[Message] = deque()
        self._returned: deque[Message] = deque()

    def add(self, message: Message) -> None:
        self._new.append(message)

    def put_back(self, message: Message) -> None:
        self._returned.append(message)

    def pop(self) -> Message | None:
        # Returned ones first: behind a backlog of a million a retry would take as long as the whole backlog does.
        for messages in (self._returned, self._new):
            while messages:
                message = messages.popleft()
                if message.state == "visible":
                    return message
        return None

    def lock_group(self, message: Message) -> None:
        pass

    def unlock_group(self, message: Message) -> None:
        pass

    def end_receive(self) -> None:
        pass

    def has_next(self) -> bool:
        for messages in (self._returned, self._new):
            while messages and messages[0].state != "visible":
                messages.popleft()
            if messages:
                return True
        return False

    def clear(self) -> None:
        self._new.clear()
        self._returned.clear()
