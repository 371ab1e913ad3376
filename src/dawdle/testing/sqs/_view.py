"""What a test sees of a queue from inside. Looking changes nothing."""

from typing import Final, Literal

import msgspec

from dawdle.testing.sqs._message import State
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Service

__all__ = ["MessageView", "QueueView"]


# Tests compare with these values, so they stay although the rules use the words of AWS.
_PUBLIC_STATES: Final[dict[State, Literal["delayed", "waiting", "held", "gone"]]] = {
    "delayed": "delayed",
    "visible": "waiting",
    "in_flight": "held",
    "deleted": "gone",
}


class MessageView(msgspec.Struct, frozen=True):
    """One stored message."""

    id: str
    body: str
    state: Literal["delayed", "waiting", "held", "gone"]
    """`waiting` is visible, `held` is in flight."""

    receives: int
    visible_in: float
    """Seconds until it is visible; 0: it is."""

    group: str | None
    dead_letter_source: str | None


class QueueView:
    """Counts and messages of one queue, exact and at this moment."""

    def __init__(self, service: Service, queue: Queue) -> None:
        self._service = service
        self._queue = queue

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._queue.name

    @property
    def url(self) -> str:
        """The queue's URL."""
        return self._service.url(self._queue)

    @property
    def arn(self) -> str:
        """The queue's ARN."""
        return self._queue.arn

    @property
    def visible(self) -> int:
        """How many messages may be received now."""
        return self._advanced().visible

    @property
    def in_flight(self) -> int:
        """How many messages were received and are neither deleted nor visible again."""
        return self._advanced().in_flight

    @property
    def delayed(self) -> int:
        """How many messages are delayed."""
        return self._advanced().delayed

    @property
    def polls(self) -> int:
        """How many long polls wait for a message, also those whose client has gone away."""
        return self._service.waiting_polls(self._queue)

    def __len__(self) -> int:
        """Return how many messages are stored, in whatever state."""
        return self._advanced().message_count

    def __bool__(self) -> bool:
        """Return true, also of a queue that is empty."""
        return True

    def messages(self) -> list[MessageView]:
        """Return every stored message, in the order in which they were stored."""
        now = self._service.now().monotonic
        return [
            MessageView(
                message.id,
                message.body,
                _PUBLIC_STATES[message.state],
                message.receive_count,
                max(0.0, message.visible_at - now),
                message.group_id,
                message.dead_letter_source,
            )
            for message in self._advanced().messages()
        ]

    def _advanced(self) -> Queue:
        self._queue.advance(self._service.now().monotonic)
        return self._queue
