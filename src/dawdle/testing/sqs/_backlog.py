"""In which order waiting messages leave a standard queue; the ordered line is next door in `_fifo`."""

from collections import deque
from typing import Protocol

from dawdle.testing.sqs._message import Message

__all__ = ["Backlog", "StandardBacklog"]


class Backlog(Protocol):
    """The waiting messages of one queue. Messages deleted while they wait are skipped when their turn comes."""

    def add(self, message: Message) -> None:
        """Take in a message that waits for the first time."""
        ...

    def put_back(self, message: Message) -> None:
        """Take back a message that was held."""
        ...

    def pop(self) -> Message | None:
        """Remove and return the next message that may be received."""
        ...

    def lock_group(self, message: Message) -> None:
        """Note that a popped message is held now."""
        ...

    def unlock_group(self, message: Message) -> None:
        """Note that a held message is no longer (deleted, or about to rejoin)."""
        ...

    def end_receive(self) -> None:
        """Note that one receive has popped all that it wanted."""
        ...

    def has_next(self) -> bool:
        """Return whether `pop` would return a message."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class StandardBacklog:
    """Best effort order: what came back first, then the oldest. Every step costs the same at any length."""

    __slots__ = ("_new", "_returned")

    def __init__(self) -> None:
        self._new: deque[Message] = deque()
        self._returned: deque[Message] = deque()

    def add(self, message: Message) -> None:
        self._new.append(message)

    def put_back(self, message: Message) -> None:
        self._returned.append(message)

    def pop(self) -> Message | None:
        for part in (self._returned, self._new):
            while part:
                message = part.popleft()
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
        for part in (self._returned, self._new):
            while part and part[0].state != "visible":
                part.popleft()
            if part:
                return True
        return False

    def clear(self) -> None:
        self._new.clear()
        self._returned.clear()
