"""What was asked about the queues of one app, as values. Judges nothing."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import msgspec

from dawdle.cli.sqs._emit.iam import Role
from dawdle.cli.sqs._plan import MAX_MESSAGE_BYTES, Purpose

__all__ = ["Answer", "Facts", "LambdaMapping", "QueueFacts", "Try"]

DEFAULTS: Mapping[str, int] = {
    "DelaySeconds": 0,
    "MaximumMessageSize": MAX_MESSAGE_BYTES,
    "MessageRetentionPeriod": 345_600,
    "ReceiveMessageWaitTimeSeconds": 0,
    "VisibilityTimeout": 30,
    "KmsDataKeyReusePeriodSeconds": 300,
}
"""What SQS gives an attribute that was not set (SQS API reference, CreateQueue). Emulators leave some of them out."""

Answer = Literal["allowed", "denied", "unknown"]


class Try(msgspec.Struct, frozen=True, kw_only=True):
    """One permission that was tried with the credentials at hand."""

    queue: str
    action: str
    """Without its prefix: `SendMessage`."""
    answer: Answer
    detail: str
    """What the queue said to the probe."""
    stored: bool = False
    """Whether the server stored what SQS refuses."""


class LambdaMapping(msgspec.Struct, frozen=True, kw_only=True):
    """An event source mapping: a Lambda function that receives from a queue."""

    function: str
    uuid: str
    enabled: bool


class QueueFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. What could not be asked is None."""

    purpose: Purpose
    url: str
    missing: bool = False
    attributes: Mapping[str, str] | None = None
    sources: Sequence[str] | None = None
    """Names of the queues that have this one as their dead-letter queue."""
    mappings: Sequence[LambdaMapping] | None = None
    oldest: float | None = None
    """Age of the oldest event, in seconds."""
    empty_receives: float | None = None
    """Receives in the last hour that brought nothing."""

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.url.rpartition("/")[2]

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")

    @property
    def arn(self) -> str | None:
        """Its ARN, if that could be read."""
        return None if self.attributes is None else self.attributes.get("QueueArn")

    @property
    def account(self) -> str | None:
        """The account that it belongs to."""
        return None if self.arn is None else self.arn.split(":")[4]

    def text(self, attribute: str) -> str:
        """Return an attribute, empty if it is not set."""
        return (self.attributes or {}).get(attribute, "")

    def number(self, attribute: str) -> int:
        """Return an attribute that is a number; what SQS takes if it is not set."""
        return int(self.text(attribute) or DEFAULTS.get(attribute, 0))

    def count(self, which: Literal["", "NotVisible", "Delayed"] = "") -> int:
        """Return about how many messages are visible, in flight or delayed."""
        return self.number(f"ApproximateNumberOfMessages{which}")

    def document(self, attribute: str) -> Mapping[str, Any]:
        """Return an attribute that is a JSON object, empty if it is not set."""
        return cast("dict[str, Any]", json.loads(self.text(attribute) or "{}"))

    @property
    def redrive_target(self) -> str | None:
        """The ARN of the dead-letter queue in its redrive policy."""
        return self.document("RedrivePolicy").get("deadLetterTargetArn")

    @property
    def max_receives(self) -> int | None:
        """The `maxReceiveCount` of its redrive policy."""
        count = self.document("RedrivePolicy").get("maxReceiveCount")
        return None if count is None else int(count)


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """The queues of one app, and what its credentials may do."""

    events: QueueFacts
    dead_letters: QueueFacts | None = None
    delayed: QueueFacts | None = None
    letters_set: str | None = None
    """The URL that the app or `DAWDLE_SQS_DEAD_LETTER_URL` names as its dead-letter queue."""
    tries: Sequence[Try] = ()
    role: Role = "worker"
    principal: str | None = None
    """The ARN of the user or the role that the credentials belong to."""
    wait: int = 20
    """Seconds that a poll of the app waits."""
    workers: int | None = None
    """How many workers poll the queue, as the caller says."""
    unasked: Mapping[str, str] = {}
    """What else could not be asked, and why: Lambda, CloudWatch."""
    options: str = ""
    """What each `aws` command needs beside its own arguments: `--region …`, `--endpoint-url …`."""

    @property
    def queues(self) -> Iterator[QueueFacts]:
        """All queues."""
        yield self.events
        yield from (queue for queue in (self.delayed, self.dead_letters) if queue is not None)

    @property
    def readable(self) -> Iterator[QueueFacts]:
        """The queues whose attributes could be read."""
        return (queue for queue in self.queues if queue.attributes is not None)
