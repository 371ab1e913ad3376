"""What one account has in one region: queues, long polls, message move tasks. Knows no HTTP."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from dawdle.abc import Clock
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._faults import Asked, CallFaults, Faults
from dawdle.testing.sqs._message import Instant, Message
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._scheduler import ScheduledCall, Scheduler

__all__ = ["MAX_IN_FLIGHT", "Call", "LongPoll", "MoveTask", "Service"]

MAX_IN_FLIGHT: Final = 120_000
"""Messages of one queue that may be in flight at once (SQS developer guide, quotas, 2026)."""


class Call(msgspec.Struct):
    """One call while it runs: what was asked, when, and which faults happen to it."""

    asked: Asked
    now: Instant
    faults: CallFaults


class MoveTask(msgspec.Struct, kw_only=True):
    """One message move task: RUNNING until its status is one of the other three."""

    handle: str
    source: Queue
    destination: Queue | None
    """None: every message goes back to the queue that it came from."""

    per_second: int | None
    to_move: int
    started_ms: int
    status: Literal["RUNNING", "COMPLETED", "CANCELLED", "FAILED"] = "RUNNING"
    moved: int = 0
    failure: str | None = None


class LongPoll:
    """A receive that waits for messages until a time.

    `serve(now, is_final)` tries to answer it and returns whether it did; a final one answers without messages. It does
    not end with its connection: SQS hands messages also to a client that has gone away, and so does this.
    """

    __slots__ = ("done", "expiry", "queue", "serve", "until")

    def __init__(self, queue: Queue, until: float, serve: Callable[[Instant, bool], bool]) -> None:
        self.queue = queue
        self.until = until
        self.serve = serve
        self.done = False
        self.expiry: ScheduledCall | None = None


class Service:
    """The queues, and what happens to them without a request."""

    def __init__(
        self,
        *,
        clock: Clock,
        scheduler: Scheduler,
        faults: Faults,
        random_bits: Callable[[int], int],
        region: str,
        account: str,
        in_flight_limit: int = MAX_IN_FLIGHT,
    ) -> None:
        self.clock = clock
        self.scheduler = scheduler
        self.faults = faults
        self.region = region
        self.account = account
        self.in_flight_limit = in_flight_limit
        self.endpoint_url = ""
        self.queues: dict[str, Queue] = {}
        self.deleted_at: dict[str, float] = {}
        self.move_tasks: list[MoveTask] = []
        self._random_bits = random_bits
        self._polls: dict[Queue, deque[LongPoll]] = {}
        # By queue: when the scheduler looks whether a message has become visible for a long poll. Without a poll it
        # need not look: every call advances its queue first.
        self._next_wakeup: dict[Queue, float] = {}

    def now(self) -> Instant:
        """Return the time by both readings of the clock."""
        return Instant(self.clock.monotonic(), int(self.clock.now() * 1000))

    def new_id(self) -> str:
        """Return a random UUID."""
        # The version and variant digits of a random UUID. Its bits are an argument, so that a simulation can seed them.
        digits = f"{self._random_bits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def new_receipt_secret(self) -> str:
        """Return a secret for the receipt handles of one queue."""
        return f"{self._random_bits(64):016x}"

    def url(self, queue: Queue) -> str:
        """Return the URL of a queue."""
        return self.endpoint_url + self.path(queue)

    def path(self, queue: Queue) -> str:
        """Return the part of its URL that does not depend on the address of this server."""
        return f"/{self.account}/{queue.name}"

    def arn(self, name: str) -> str:
        """Return the ARN of a queue."""
        return f"arn:aws:sqs:{self.region}:{self.account}:{name}"

    def find(self, url: str) -> Queue:
        """Return the queue with this URL; only the account and the name in it matter. Raises `ServiceError`."""
        rest, _, name = url.rpartition("/")
        queue = self.queues.get(name)
        if queue is None or rest.rpartition("/")[2] != self.account:
            raise service_error("QueueDoesNotExist", "The specified queue does not exist.")
        return queue

    def find_arn(self, arn: str) -> Queue | None:
        """Return the queue with this ARN, if there is one."""
        queue = self.queues.get(arn.rpartition(":")[2])
        return queue if queue is not None and queue.arn == arn else None

    def dead_letter_sources(self, queue: Queue) -> list[Queue]:
        """Return the queues that have this one as their dead-letter queue."""
        return [
            source
            for source in self.queues.values()
            if source.attributes.redrive_policy and source.attributes.redrive_policy.dead_letter_target_arn == queue.arn
        ]

    def dead_letter_target(self, queue: Queue) -> Queue | None:
        """Return the dead-letter queue of a queue; None: it has none, or that was deleted."""
        redrive = queue.attributes.redrive_policy
        return self.find_arn(redrive.dead_letter_target_arn) if redrive else None

    def move_to_dead_letters(self, queue: Queue, target: Queue, messages: Sequence[Message], now: Instant) -> None:
        """Store messages that were received too often in `queue` in its dead-letter queue."""
        for message in messages:
            letter = msgspec.structs.replace(
                message,
                receive_count_on_arrival=message.receive_count,
                visible_at=0.0,
                timer_id=-1,
                dead_letter_source=queue.arn,
            )
            if target.fifo:
                # A standard letter keeps its age and its retention; a FIFO letter starts anew (SQS developer guide).
                letter.deduplication_id = letter.id
                letter.sequence_number = target.fifo.next_sequence()
                letter.stored_at = now.monotonic
            target.store(letter, 0, now.monotonic)
        self.serve_polls(target, now)

    def add_poll(self, poll: LongPoll) -> None:
        """Let a receive wait for messages. The longest waiting one is served first."""
        self._polls.setdefault(poll.queue, deque()).append(poll)
        poll.expiry = self.scheduler.call_at(poll.until, lambda: self._expire(poll))
        self._schedule_wakeup(poll.queue)

    def serve_polls(self, queue: Queue, now: Instant) -> None:
        """Answer the long polls of a queue with its visible messages, the longest waiting one first.

        This may be entered again while it runs: serving a poll may dead-letter into a queue that dead-letters back into
        this one. So a poll that is being served is in no list, and the list object stays the same.
        """
        polls = self._polls.get(queue)
        if not polls:
            return
        queue.advance(now.monotonic)
        while polls and queue.in_flight < self.in_flight_limit and queue.has_visible():
            # Out of the list while it is served. It goes back if the message went to the dead-letter queue instead.
            poll = polls.popleft()
            poll.done = poll.serve(now, False)
            if not poll.done:
                polls.appendleft(poll)
            elif poll.expiry is not None:
                poll.expiry.cancel()
        if polls:
            self._schedule_wakeup(queue)

    def delete_queue(self, queue: Queue, now: Instant) -> None:
        """Delete a queue; its long polls are answered without messages."""
        del self.queues[queue.name]
        self.deleted_at[queue.name] = now.monotonic
        queue.purge()
        for poll in self._polls.pop(queue, ()):
            poll.done = poll.serve(now, True)

    def waiting_polls(self, queue: Queue) -> int:
        """Return how many long polls wait for this queue, also those whose client has gone away."""
        return len(self._polls.get(queue, ()))

    def _schedule_wakeup(self, queue: Queue) -> None:
        # Only an earlier call than the scheduled one is added: the later ones follow from it, one after the other.
        due = queue.next_due()
        if due is not None and due < self._next_wakeup.get(queue, float("inf")):
            self._next_wakeup[queue] = due
            self.scheduler.call_at(due, lambda: self._wake(queue, due))

    def _wake(self, queue: Queue, due: float) -> None:
        if self._next_wakeup.get(queue) == due:
            del self._next_wakeup[queue]
        self.serve_polls(queue, self.now())

    def _expire(self, poll: LongPoll) -> None:
        if poll.done:
            return
        # A message that becomes visible at the very time at which the poll ends is still delivered.
        now = self.now()
        self.serve_polls(poll.queue, now)
        if not poll.done:
            self._polls[poll.queue].remove(poll)
            poll.done = poll.serve(now, True)
