"""What is wrong with the attributes and the state of queues. Pure: facts in, findings out."""

import json
from collections.abc import Callable, Iterator
from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._doctor.facts import Facts, QueueFacts
from dawdle.cli.sqs._doctor.fixes import aws, dawdle_create, set_attributes
from dawdle.cli.sqs._plan import (
    DAY,
    MAX_MESSAGE_BYTES,
    MAX_RETENTION_SECONDS,
    VISIBILITY_SECONDS,
    WAIT_SECONDS,
    make_plan,
)

__all__ = ["RULES", "duration"]

DEFAULT_RETENTION_SECONDS: Final = 4 * DAY
MIN_VISIBILITY_SECONDS: Final = 30
MIN_KEY_REUSE_SECONDS: Final = 300
MAX_IN_FLIGHT: Final = 120_000
"""Messages of one queue that SQS lets be in flight (SQS developer guide, quotas, 2026)."""


def missing(facts: Facts) -> Iterator[Finding]:
    """A queue is not there."""
    for queue in facts.queues:
        if queue.missing:
            yield Finding(
                severity="error",
                rule="sqs.missing",
                where=queue.name,
                what=f"there is no queue {queue.url}",
                why="It was deleted, or the URL names another account or region: every call of the app fails.",
                fix=_made_again(facts, queue),
            )


def _made_again(facts: Facts, queue: QueueFacts) -> str:
    if queue.purpose != "delayed events":
        return dawdle_create(facts)
    usual = make_plan(facts.events.name, delayed=f"{facts.events.name.removesuffix('.fifo')}-delayed").delayed
    if usual is not None and usual.name == queue.name:
        return dawdle_create(facts, "--delay-queue")
    attributes = {} if usual is None else dict(usual.attributes)
    return aws(facts, "sqs create-queue", queue_name=queue.name, attributes=json.dumps(attributes))


def wait_time(facts: Facts) -> Iterator[Finding]:
    """Another program's receive would not wait."""
    for queue in _received(facts):
        if queue.number("ReceiveMessageWaitTimeSeconds") == 0:
            yield Finding(
                severity="warning",
                rule="sqs.wait",
                where=queue.name,
                what="ReceiveMessageWaitTimeSeconds is 0",
                why=(
                    "dawdle says its own wait with each poll. Any other program that receives does not wait: it asks "
                    "many times a second, each is billed, and a receive that does not wait may miss messages."
                ),
                fix=set_attributes(facts, queue, {"ReceiveMessageWaitTimeSeconds": str(WAIT_SECONDS)}),
            )


def visibility(facts: Facts) -> Iterator[Finding]:
    """Another program's messages would come back while it works on them."""
    for queue in _received(facts):
        seconds = queue.number("VisibilityTimeout")
        if seconds < MIN_VISIBILITY_SECONDS:
            yield Finding(
                severity="warning",
                rule="sqs.visibility",
                where=queue.name,
                what=f"VisibilityTimeout is {seconds}",
                why=(
                    "dawdle says its own lease with each poll. With any other program that receives, such as a Lambda "
                    "function, a message comes back while it is still worked on."
                ),
                fix=set_attributes(facts, queue, {"VisibilityTimeout": str(VISIBILITY_SECONDS)}),
            )


def retention(facts: Facts) -> Iterator[Finding]:
    """SQS deletes events before anyone has noticed that no worker runs."""
    for queue in _received(facts):
        seconds = queue.number("MessageRetentionPeriod")
        if seconds <= DEFAULT_RETENTION_SECONDS:
            yield Finding(
                severity="warning",
                rule="sqs.retention",
                where=queue.name,
                what=f"MessageRetentionPeriod is {duration(seconds)}",
                why="SQS deletes an older event, handled or not. Workers that are down over a long weekend use it up.",
                fix=set_attributes(facts, queue, {"MessageRetentionPeriod": str(MAX_RETENTION_SECONDS)}),
            )


def delay(facts: Facts) -> Iterator[Finding]:
    """Everything waits without need."""
    for queue in facts.readable:
        seconds = queue.number("DelaySeconds")
        if seconds:
            yield Finding(
                severity="warning",
                rule="sqs.delay",
                where=queue.name,
                what=f"DelaySeconds is {seconds}",
                why=f"Each message waits {seconds} s before a worker may have it. dawdle delays single events itself.",
                fix=set_attributes(facts, queue, {"DelaySeconds": "0"}),
            )


def message_size(facts: Facts) -> Iterator[Finding]:
    """The queue takes less than dawdle believes."""
    for queue in facts.readable:
        size = queue.number("MaximumMessageSize")
        if size < MAX_MESSAGE_BYTES:
            yield Finding(
                severity="warning",
                rule="sqs.message-size",
                where=queue.name,
                what=f"MaximumMessageSize is {size:,} bytes",
                why=(
                    "dawdle checks events against the 1 MiB that SQS allows. A larger event than this is refused by "
                    "SQS, and with it the request that carries it; a letter or a retry that grew is never stored."
                ),
                fix=set_attributes(facts, queue, {"MaximumMessageSize": str(MAX_MESSAGE_BYTES)}),
            )


def encryption(facts: Facts) -> Iterator[Finding]:
    """Messages are stored as they are, or dead letters less protected than events."""
    for queue in facts.readable:
        key, managed = queue.text("KmsMasterKeyId"), queue.text("SqsManagedSseEnabled") != "false"
        wanted = facts.events.text("KmsMasterKeyId")
        if not key and wanted and queue is not facts.events:
            yield Finding(
                severity="warning",
                rule="sqs.encryption",
                where=queue.name,
                what=f"it is not encrypted by {wanted}, the KMS key of {facts.events.name}",
                why=f"It holds the same data as {facts.events.name}, which was thought worth a key of its own.",
                fix=set_attributes(facts, queue, {"KmsMasterKeyId": wanted}),
            )
        elif not key and not managed:
            yield Finding(
                severity="warning",
                rule="sqs.encryption",
                where=queue.name,
                what="messages are not encrypted at rest",
                why="SQS does it without a key to pay or to manage; a queue from before 2022 must be told to.",
                fix=set_attributes(facts, queue, {"SqsManagedSseEnabled": "true"}),
            )


def key_reuse(facts: Facts) -> Iterator[Finding]:
    """KMS is asked more often than need be."""
    for queue in facts.readable:
        seconds = queue.number("KmsDataKeyReusePeriodSeconds")
        if queue.text("KmsMasterKeyId") and seconds < MIN_KEY_REUSE_SECONDS:
            yield Finding(
                severity="warning",
                rule="sqs.key-reuse",
                where=queue.name,
                what=f"KmsDataKeyReusePeriodSeconds is {seconds}",
                why="SQS asks KMS for a new data key that often, for each principal. KMS bills that, and throttles it.",
                fix=set_attributes(facts, queue, {"KmsDataKeyReusePeriodSeconds": str(MIN_KEY_REUSE_SECONDS)}),
            )


def fifo_throughput(facts: Facts) -> Iterator[Finding]:
    """A FIFO queue is limited as a whole."""
    queue = facts.events
    if queue.attributes is None or not queue.fifo or queue.text("FifoThroughputLimit") == "perMessageGroupId":
        return
    by_group = {"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    yield Finding(
        severity="warning",
        rule="sqs.fifo-throughput",
        where=queue.name,
        what="FifoThroughputLimit is perQueue",
        why="SQS takes 300 calls a second for the whole queue, and throttles the rest. By group, each has that limit.",
        fix=set_attributes(facts, queue, by_group),
    )


def no_delay_queue(facts: Facts) -> Iterator[Finding]:
    """A FIFO queue cannot delay events."""
    if facts.events.fifo and not facts.events.missing and facts.delayed is None:
        yield Finding(
            severity="note",
            rule="sqs.no-delay-queue",
            where=facts.events.name,
            what="no delay queue is named",
            why=(
                "SQS delays no single message of a FIFO queue: delay= and at= raise. Once it is made, "
                "DAWDLE_SQS_DELAY_QUEUE_URL must name it."
            ),
            fix=dawdle_create(facts),
        )


def in_flight(facts: Facts) -> Iterator[Finding]:
    """The queue is about to give no more messages."""
    for queue in facts.readable:
        count = queue.count("NotVisible")
        if count >= MAX_IN_FLIGHT * 0.8:
            yield Finding(
                severity="error",
                rule="sqs.in-flight",
                where=queue.name,
                what=f"{count:,} messages are in flight, of the {MAX_IN_FLIGHT:,} that SQS allows",
                why="At the limit a long poll gets nothing, without an error. Lower the concurrency of workers.",
                fix="dawdle top",
            )


def oldest(facts: Facts) -> Iterator[Finding]:
    """Events are about to be deleted by SQS."""
    for queue in _received(facts):
        kept = queue.number("MessageRetentionPeriod")
        if queue.oldest is not None and queue.oldest > kept / 2:
            yield Finding(
                severity="error",
                rule="sqs.oldest",
                where=queue.name,
                what=f"the oldest event is {duration(queue.oldest)} old, and SQS deletes it at {duration(kept)}",
                why="The workers do not keep up, or none runs: start more.",
                fix="dawdle top",
            )


RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    missing,
    wait_time,
    visibility,
    retention,
    delay,
    message_size,
    encryption,
    key_reuse,
    fifo_throughput,
    no_delay_queue,
    in_flight,
    oldest,
)


def duration(seconds: float) -> str:
    """Return seconds in the largest unit that leaves a number above 1: `4 days`, `90 minutes`."""
    for unit, size in (("days", DAY), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _received(facts: Facts) -> Iterator[QueueFacts]:
    """The queues that workers receive from."""
    return (queue for queue in facts.readable if queue.purpose != "dead letters")
