"""Which queues dawdle wants, and with which attributes. Asks nothing."""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

__all__ = [
    "DAY",
    "FIFO_RECEIVES",
    "MAX_MESSAGE_BYTES",
    "MAX_RETENTION_SECONDS",
    "MIN_FIFO_RECEIVES",
    "MIN_RECEIVES",
    "MIN_RETENTION_SECONDS",
    "NAME_RULE",
    "RECEIVES",
    "VISIBILITY_SECONDS",
    "WAIT_SECONDS",
    "Plan",
    "Purpose",
    "QueuePlan",
    "is_name",
    "make_plan",
]

DAY: Final = 86_400

# From the SQS developer guide, quotas, 2026.
MIN_RETENTION_SECONDS: Final = 60
MAX_RETENTION_SECONDS: Final = 14 * DAY
MAX_MESSAGE_BYTES: Final = 1_048_576

# What docs/guides/sqs.md says, and why.
WAIT_SECONDS: Final = 20
VISIBILITY_SECONDS: Final = 60
RECEIVES: Final = 50
FIFO_RECEIVES: Final = 1000
MIN_RECEIVES: Final = 50
MIN_FIFO_RECEIVES: Final = 200

NAME_RULE: Final = "1 to 80 letters, digits, hyphens and underscores, and .fifo at its end if it is a FIFO queue"
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo|[A-Za-z0-9_-]{1,80}")

Purpose = Literal["events", "dead letters", "delayed events"]


class QueuePlan(msgspec.Struct, frozen=True, kw_only=True):
    """One queue, and the attributes that it should have, by SQS's names. The redrive policy is the plan's."""

    name: str
    purpose: Purpose
    attributes: Mapping[str, str]

    @property
    def fifo(self) -> bool:
        """Whether it is a FIFO queue."""
        return self.name.endswith(".fifo")


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The queues of one app: for its events, its dead letters, and its delayed events if it has a second queue."""

    events: QueuePlan
    dead_letters: QueuePlan
    delayed: QueuePlan | None
    max_receives: int
    """Receives after which SQS moves an event to the dead-letter queue: the redrive policy of `events`."""
    kms_key: str | None

    @property
    def queues(self) -> list[QueuePlan]:
        """All queues, in the order in which they are made: a redrive policy needs its dead-letter queue."""
        return [self.dead_letters, *([self.delayed] if self.delayed else []), self.events]


def is_name(name: str) -> bool:
    """Return whether SQS takes this as the name of a queue."""
    return _NAME.fullmatch(name) is not None


def make_plan(
    name: str,
    *,
    dead_letters: str | None = None,
    delayed: str | None = None,
    retention: int = MAX_RETENTION_SECONDS,
    max_receives: int | None = None,
    kms_key: str | None = None,
) -> Plan:
    """Return the plan for a queue of events. A FIFO queue always gets a second queue, since it cannot delay events.

    `retention` is that of events, in seconds; letters wait for a person, so they have the longest.
    """
    fifo = name.endswith(".fifo")
    stem = name.removesuffix(".fifo")
    if fifo and delayed is None:
        delayed = f"{stem}-delayed"
    received = {"ReceiveMessageWaitTimeSeconds": str(WAIT_SECONDS), "VisibilityTimeout": str(VISIBILITY_SECONDS)}
    stored = {"MaximumMessageSize": str(MAX_MESSAGE_BYTES), **_encryption(kms_key)}
    by_group = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"} if fifo else {}
    kind = {"FifoQueue": "true"} if fifo else {}
    letters = QueuePlan(
        name=dead_letters or f"{stem}-dead{'.fifo' if fifo else ''}",
        purpose="dead letters",
        attributes={**kind, "MessageRetentionPeriod": str(MAX_RETENTION_SECONDS), **stored},
    )
    events = QueuePlan(
        name=name,
        purpose="events",
        attributes={**kind, **by_group, "MessageRetentionPeriod": str(retention), **received, **stored},
    )
    second = None
    if delayed is not None:
        kept = {"MessageRetentionPeriod": str(retention), **received, **stored}
        second = QueuePlan(name=delayed, purpose="delayed events", attributes=kept)
    receives = max_receives if max_receives is not None else FIFO_RECEIVES if fifo else RECEIVES
    return Plan(events=events, dead_letters=letters, delayed=second, max_receives=receives, kms_key=kms_key)


def _encryption(kms_key: str | None) -> dict[str, str]:
    return {"SqsManagedSseEnabled": "true"} if kms_key is None else {"KmsMasterKeyId": kms_key}
