"""What is wrong about dead letters: the redrive policy, and the dead-letter queue. Pure: facts in, findings out."""

from collections.abc import Callable, Iterator
from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._difference import redrive_policy
from dawdle.cli.sqs._doctor.facts import Facts
from dawdle.cli.sqs._doctor.fixes import dawdle_create, dead_name, set_attributes
from dawdle.cli.sqs._doctor.queue_rules import duration
from dawdle.cli.sqs._plan import (
    FIFO_RECEIVES,
    MAX_RETENTION_SECONDS,
    MIN_FIFO_RECEIVES,
    MIN_RECEIVES,
    RECEIVES,
)

__all__ = ["RULES"]


def no_dead_letters(facts: Facts) -> Iterator[Finding]:
    """There is nowhere to put dead letters."""
    queue = facts.events
    if queue.attributes is None or queue.redrive_target is not None or facts.letters_set is not None:
        return
    yield Finding(
        severity="error",
        rule="sqs.no-dead-letters",
        where=queue.name,
        what="it has no redrive policy, so no dead-letter queue",
        why="An event that no retry mends is retried without end, and what cannot be decoded never leaves the queue.",
        fix=dawdle_create(facts),
    )


def redrive_count(facts: Facts) -> Iterator[Finding]:
    """SQS moves events away that never failed."""
    for queue in facts.readable:
        if queue.purpose == "dead letters" or queue.max_receives is None or queue.redrive_target is None:
            continue
        least, usual = (MIN_FIFO_RECEIVES, FIFO_RECEIVES) if queue.fifo else (MIN_RECEIVES, RECEIVES)
        if queue.max_receives < least:
            policy = redrive_policy(queue.redrive_target, usual)
            yield Finding(
                severity="error",
                rule="sqs.redrive-count",
                where=queue.name,
                what=f"maxReceiveCount is {queue.max_receives}, and dawdle needs {least} or more",
                why=(
                    "Each stop of a worker is a receive, so a day of bad deploys moves events to the dead-letter queue "
                    "that never failed. dawdle counts attempts itself."
                ),
                fix=set_attributes(facts, queue, {"RedrivePolicy": policy}),
            )


def dead_letters_here(facts: Facts) -> Iterator[Finding]:
    """The queue takes its own dead letters."""
    queue = facts.events
    if queue.arn is not None and queue.redrive_target == queue.arn:
        yield Finding(
            severity="error",
            rule="sqs.own-dead-letters",
            where=queue.name,
            what="its redrive policy names the queue itself",
            why="What should be given up comes back at once, and is received again without end.",
            fix=dawdle_create(facts, f"--dead-letters {dead_name(queue.name)}"),
        )


def two_dead_letter_queues(facts: Facts) -> Iterator[Finding]:
    """Letters are spread over two queues, of which dawdle shows one."""
    letters, target = facts.dead_letters, facts.events.redrive_target
    if facts.letters_set is None or letters is None or letters.arn is None or target in {None, letters.arn}:
        return
    policy = redrive_policy(letters.arn, facts.events.max_receives or RECEIVES)
    yield Finding(
        severity="warning",
        rule="sqs.two-dead-letter-queues",
        where=facts.events.name,
        what=f"the app puts dead letters into {letters.name}, and SQS into {str(target).rpartition(':')[2]}",
        why="`dawdle dead` looks into the first only, so what SQS moves away is not seen.",
        fix=set_attributes(facts, facts.events, {"RedrivePolicy": policy}),
    )


def dead_letter_kind(facts: Facts) -> Iterator[Finding]:
    """The dead-letter queue is of the other sort."""
    letters = facts.dead_letters
    if letters is None or letters.missing or letters.fifo == facts.events.fifo:
        return
    kind, other = ("a FIFO", "a standard") if facts.events.fifo else ("a standard", "a FIFO")
    yield Finding(
        severity="error",
        rule="sqs.dead-letter-kind",
        where=letters.name,
        what=f"{facts.events.name} is {kind} queue, and its dead-letter queue is {other} queue",
        why="SQS cannot move a message from one sort to the other, and letters lose their group.",
        fix=dawdle_create(facts, f"--dead-letters {dead_name(facts.events.name)}"),
    )


def letter_retention(facts: Facts) -> Iterator[Finding]:
    """SQS deletes letters before a person has looked."""
    letters = facts.dead_letters
    if letters is None or letters.attributes is None:
        return
    kept, events = letters.number("MessageRetentionPeriod"), facts.events.number("MessageRetentionPeriod")
    if kept >= MAX_RETENTION_SECONDS:
        return
    shorter = kept < events and facts.events.attributes is not None
    why = "A letter waits for a person, who may be on leave. SQS deletes it at this age."
    if shorter:
        why = "A letter that SQS moves keeps its age: one that is older than this is deleted as it arrives."
    yield Finding(
        severity="error" if shorter else "warning",
        rule="sqs.letter-retention",
        where=letters.name,
        what=f"MessageRetentionPeriod is {duration(kept)}" + (f", and of events {duration(events)}" if shorter else ""),
        why=why,
        fix=set_attributes(facts, letters, {"MessageRetentionPeriod": str(MAX_RETENTION_SECONDS)}),
    )


def letters_redriven(facts: Facts) -> Iterator[Finding]:
    """Letters are moved on."""
    letters = facts.dead_letters
    if letters is None or letters.redrive_target is None:
        return
    yield Finding(
        severity="error",
        rule="sqs.letters-moved",
        where=letters.name,
        what=f"it has a redrive policy itself, to {letters.redrive_target.rpartition(':')[2]}",
        why="Each look at a letter is a receive. After a few of them SQS moves the letter where dawdle does not look.",
        fix=set_attributes(facts, letters, {"RedrivePolicy": ""}),
    )


def letters_not_allowed(facts: Facts) -> Iterator[Finding]:
    """The dead-letter queue takes none from this queue."""
    letters, source = facts.dead_letters, facts.events.arn
    if letters is None or letters.attributes is None or source is None:
        return
    allow = letters.document("RedriveAllowPolicy")
    permission = allow.get("redrivePermission", "allowAll")
    listed: list[str] = list(allow.get("sourceQueueArns", []))
    if permission == "allowAll" or (permission == "byQueue" and source in listed):
        return
    arns = ", ".join(f'"{arn}"' for arn in [*listed, source])
    wanted = f'{{"redrivePermission": "byQueue", "sourceQueueArns": [{arns}]}}'
    yield Finding(
        severity="error",
        rule="sqs.letters-not-allowed",
        where=letters.name,
        what=f"its RedriveAllowPolicy is {permission}, and does not allow {facts.events.name}",
        why="SQS refuses a redrive policy that names it, so the queue cannot be changed or made again as it is.",
        fix=set_attributes(facts, letters, {"RedriveAllowPolicy": wanted}),
    )


def letters_wait(facts: Facts) -> Iterator[Finding]:
    """A person should look."""
    letters = facts.dead_letters
    if letters is None or letters.attributes is None:
        return
    count = letters.count() + letters.count("NotVisible")
    if count:
        yield Finding(
            severity="warning",
            rule="sqs.letters",
            where=letters.name,
            what=f"{count:,} dead letter{'s wait' if count > 1 else ' waits'}",
            why="What they were to do was not done. SQS deletes them when their time is over.",
            fix="dawdle dead list",
        )


RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    no_dead_letters,
    redrive_count,
    dead_letters_here,
    two_dead_letter_queues,
    dead_letter_kind,
    letter_retention,
    letters_redriven,
    letters_not_allowed,
    letters_wait,
)
