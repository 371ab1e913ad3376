"""The calls that move messages, and how long each may take. Two ways to make them: `_botocore_calls` and `_data_plane`.

Both raise botocore's errors, and both note in `RequestAttempts` what became of each attempt.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends.sqs._request_attempts import RequestAttempts

__all__ = ["MessageCalls", "Poll", "TimeLimits"]


class Poll(msgspec.Struct, frozen=True):
    """What one receive asks for. `with_source`: also which queue a message was moved from."""

    url: str
    limit: int
    wait: int
    lease: int
    with_source: bool = False


class TimeLimits(msgspec.Struct, frozen=True):
    """How long a call may take.

    `wait`: seconds of the longest poll, or None for no polls. `response_seconds`: seconds in which SQS must respond to
    one attempt; for a poll, beyond its own wait. `max_attempts`: attempts of a call that is no poll.
    """

    wait: int | None
    response_seconds: float
    max_attempts: int

    @property
    def connect_seconds(self) -> float:
        """Seconds in which a connection must be made.

        Half of one response, so that a connection that cannot be made ends as that, which says that nothing was sent.
        The deadline of the whole call would not say.
        """
        return self.response_seconds / 2

    @property
    def call_seconds(self) -> float:
        """Seconds in which a call that is no poll must end, whatever the server does."""
        return self.response_seconds * self.max_attempts

    def poll_seconds(self, wait: int) -> float:
        """Return the seconds in which a poll that waits for so long must end."""
        return wait + self.response_seconds


class MessageCalls(Protocol):
    """The calls that move messages. Each of at most 10 entries; entries that failed inside a 200 become faults."""

    async def receive(self, poll: Poll, attempts: RequestAttempts) -> list[Delivery]:
        """Receive messages."""
        ...

    async def send(self, url: str, batch: Sequence[Outgoing], attempts: RequestAttempts) -> list[Fault | None]:
        """Store messages."""
        ...

    async def delete(self, url: str, receipts: Sequence[str], attempts: RequestAttempts) -> list[Fault | None]:
        """Delete received messages."""
        ...

    async def change_visibility(
        self, url: str, batch: Sequence[ReleaseEntry], attempts: RequestAttempts
    ) -> list[Fault | None]:
        """Hide received messages for so many seconds from now."""
        ...
