"""What was counted in one scenario on one size of fleet, and the figures that follow from it."""

from typing import Final

import msgspec

from tests.fleet.prices import dollars

REQUESTS: Final = {
    "send": "SendMessageBatch",
    "receive": "ReceiveMessage",
    "ack": "DeleteMessageBatch",
    "renew": "ChangeMessageVisibilityBatch",
    "release": "ChangeMessageVisibilityBatch",
    "attributes": "GetQueueAttributes",
}
"""By call of a backend: the operation of SQS that it is a request of."""


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario on one size of fleet. Seconds are virtual."""

    scenario: str
    nodes: int
    events: int
    seconds: float
    """How long requests were counted: from the first signal until the queue is empty."""

    requests: dict[str, int]
    """By operation of SQS."""

    drained_after: float | None = None
    """Seconds from the last signal, or from the end of the deploy, until the queue is empty."""

    wait_p50: float | None = None
    wait_p99: float | None = None
    wait_max: float | None = None
    """Seconds that an event is in the queue until its handler starts: the median, what 1 of 100 exceeds, the most."""

    extra_runs: int = 0
    """Runs of an attempt beyond the first."""

    interrupted: int = 0
    """Runs that the end of a stopping node's grace interrupted. Each is one of the extra runs."""

    lost: int = 0
    """Events that neither a handler has finished nor the dead-letter queue has."""

    by_hour: list[int] = []
    """Requests of each whole hour, where hours were counted."""

    broken: list[str] = []
    """Promises that did not hold."""

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    @property
    def moving(self) -> int:
        """Requests that send, receive or delete messages."""
        return sum(self.requests.get(name, 0) for name in ("SendMessageBatch", "ReceiveMessage", "DeleteMessageBatch"))

    @property
    def per_event(self) -> float | None:
        """Requests for each event, whether they brought a message or not."""
        return self.moving / self.events if self.events else None

    @property
    def sends_and_deletes(self) -> int:
        """Requests that are not made by polling. To receive takes as many as to delete, if no poll is empty."""
        return self.requests.get("SendMessageBatch", 0) + self.requests.get("DeleteMessageBatch", 0)

    @property
    def per_hour(self) -> float:
        return self.total * 3600 / self.seconds

    @property
    def dollars_per_day(self) -> float:
        return dollars(self.per_hour * 24)
