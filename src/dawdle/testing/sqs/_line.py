"""In which order waiting messages leave a standard queue; the ordered line is next door in `_fifo`."""

from collections import deque
from typing import Protocol

from dawdle.testing.sqs._message import Message

__all__ = ["Line", "PlainLine"]


class Line(Protocol):
    """The waiting messages of one queue. Messages deleted while they wait are skipped when their turn comes."""

    def join(self, message: Message) -> None:
        """Take in a message that waits for the first time."""
        ...

    def rejoin(self, message: Message) -> None:
        """Take back a message that was held."""
        ...

    def pop(self) -> Message | None:
        """Remove and return the next message that may be received."""
        ...

    def held(self, message: Message) -> None:
        """Note that a popped message is held now."""
        ...

    def freed(self, message: Message) -> None:
        """Note that a held message is no longer (deleted, or about to rejoin)."""
        ...

    def served(self) -> None:
        """Note that one receive has popped all that it wanted."""
        ...

    def deliverable(self) -> bool:
        """Return whether `pop` would return a message."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class PlainLine:
    """Best effort order: what came back first, then the oldest. Every step costs the same at any length."""

    __slots__ = ("_fresh", "_returned")

    def __init__(self) -> None:
        self._fresh: deque[Message] = deque()
        self._returned: deque[Message] = deque()

    def join(self, message: Message) -> None:
        self._fresh.append(message)

    def rejoin(self, message: Message) -> None:
        self._returned.append(message)

    def pop(self) -> Message | None:
        for part in (self._returned, self._fresh):
            while part:
                message = part.popleft()
                if message.state == "waiting":
                    return message
        return None

    def held(self, message: Message) -> None:
        pass

    def freed(self, message: Message) -> None:
        pass

    def served(self) -> None:
        pass

    def deliverable(self) -> bool:
        for part in (self._returned, self._fresh):
            while part and part[0].state != "waiting":
                part.popleft()
            if part:
                return True
        return False

    def clear(self) -> None:
        self._fresh.clear()
        self._returned.clear()
