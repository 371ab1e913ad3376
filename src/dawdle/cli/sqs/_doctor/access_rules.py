"""Who may do what, and who else receives. Pure: facts in, findings out."""

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._doctor.facts import Facts, QueueFacts
from dawdle.cli.sqs._doctor.fixes import aws, dead_name
from dawdle.cli.sqs._plan import Purpose

__all__ = ["RULES", "idle_receives"]


def permissions(facts: Facts) -> Iterator[Finding]:
    """The credentials lack what their role does."""
    for queue in facts.queues:
        denied = [each.action for each in facts.tries if each.queue == queue.url and each.answer == "denied"]
        if not denied:
            continue
        actions = ", ".join(f"sqs:{action}" for action in denied)
        yield Finding(
            severity="error",
            rule="sqs.permission",
            where=queue.name,
            what=f"denied: {actions}",
            why=_what_fails(facts.role, queue.purpose, denied),
            fix=_allow(facts, queue, denied),
        )


def unasked(facts: Facts) -> Iterator[Finding]:
    """Some of it could not be looked at."""
    for queue in facts.queues:
        if queue.attributes is None and not queue.missing:
            yield Finding(
                severity="note",
                rule="sqs.not-asked",
                where=queue.name,
                what="its attributes cannot be read",
                why="These credentials lack sqs:GetQueueAttributes on it, so most of it could not be checked.",
                fix="run the doctor with credentials that may read them",
            )
    for what, why in facts.unasked.items():
        yield Finding(
            severity="note",
            rule="sqs.not-asked",
            where=facts.events.name,
            what=f"{what} could not be looked at",
            why=why,
            fix="run the doctor with credentials that may read them",
        )
    for each in facts.tries:
        if each.stored:
            yield Finding(
                severity="note",
                rule="sqs.probe-stored",
                where=each.queue.rpartition("/")[2],
                what="this server stored a message that SQS refuses",
                why="The doctor tries SendMessage by a message that SQS never stores. This is no SQS, and has it now.",
                fix=aws(facts, "sqs purge-queue", queue_url=each.queue),
            )


def lambdas(facts: Facts) -> Iterator[Finding]:
    """A Lambda function receives from the queue too."""
    for queue in facts.readable:
        for mapping in queue.mappings or ():
            if mapping.enabled:
                yield Finding(
                    severity="warning",
                    rule="sqs.lambda",
                    where=queue.name,
                    what=f"the Lambda function {mapping.function} receives from it",
                    why=(
                        "Each message goes to one receiver: what the function takes, workers do not see. If it runs "
                        "this app by dawdle.aws_lambda, run no workers beside it."
                    ),
                    fix=aws(facts, "lambda update-event-source-mapping", uuid=mapping.uuid) + " --no-enabled",
                )


def takes_letters(facts: Facts) -> Iterator[Finding]:
    """Other queues put their dead letters here."""
    for queue in facts.queues:
        others = [name for name in queue.sources or () if name != queue.name]
        if queue.purpose != "dead letters" and others:
            own = [f"dawdle sqs create {name} --dead-letters {dead_name(name)} {facts.options}" for name in others]
            yield Finding(
                severity="warning",
                rule="sqs.is-dead-letter-queue",
                where=queue.name,
                what=f"it is the dead-letter queue of {', '.join(others)}",
                why="Workers handle what arrives here: letters of other queues are run again, or dead-lettered again.",
                fix=" && ".join(each.rstrip() for each in own),
            )


def other_consumers(facts: Facts) -> Iterator[Finding]:
    """More is received than the workers can have."""
    queue = facts.events
    if facts.workers is None:
        return
    expected = facts.workers * idle_receives(facts.wait)
    if facts.workers == 0 and queue.count("NotVisible"):
        found = f"{queue.count('NotVisible'):,} messages are in flight, and no worker runs"
    elif queue.empty_receives is not None and queue.empty_receives > 1.5 * expected + 10:
        empty = f"{queue.empty_receives:,.0f} receives in an hour brought nothing"
        found = f"{empty}, and {facts.workers} workers make {expected:,.0f}"
    else:
        return
    yield Finding(
        severity="warning",
        rule="sqs.other-consumers",
        where=queue.name,
        what=found,
        why="Another program receives from this queue. What it takes, workers do not see, and its polls are billed.",
        fix="stop the other program, or give it a queue of its own",
    )


def short_polls(facts: Facts) -> Iterator[Finding]:
    """The app itself polls more often than need be."""
    if 0 < facts.wait < 20:
        times = idle_receives(facts.wait) / idle_receives(20)
        yield Finding(
            severity="warning",
            rule="sqs.app-wait",
            where=facts.events.name,
            what=f"a poll of the app waits for {facts.wait} s",
            why=(
                f"An idle worker asks {times:.1f} times as often as with 20 s, and each poll is billed. No event comes "
                f"sooner for it."
            ),
            fix="SQS(wait=20), or leave out wait=",
        )


RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    permissions,
    lambdas,
    takes_letters,
    other_consumers,
    short_polls,
    unasked,
)


def idle_receives(wait: float) -> float:
    """Return how many receives a worker makes in an hour while nothing happens: each 31st does not wait."""
    return 31 * 3600 / (30 * max(wait, 0.1))


def _what_fails(role: str, purpose: Purpose, denied: Sequence[str]) -> str:
    if "ReceiveMessage" in denied and purpose != "dead letters":
        return f"A {role} with these credentials handles nothing."
    if "SendMessage" in denied and purpose == "dead letters":
        return f"A {role} with these credentials cannot store dead letters: failed events are retried without end."
    if denied == ["GetQueueAttributes"] and role == "worker":
        return "The retention is not known, nor the dead-letter queue, unless DAWDLE_SQS_DEAD_LETTER_URL names it."
    return f"A {role} needs this for {purpose}; its calls fail, and are tried again without end."


def _allow(facts: Facts, queue: QueueFacts, denied: Sequence[str]) -> str:
    """Return the command that adds what is denied to the role or the user, as far as it is known whose they are."""
    arn = queue.arn or _arn_of(queue.url, facts)
    allowed = {"Effect": "Allow", "Action": [f"sqs:{action}" for action in denied], "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    name = f"dawdle-{queue.name.replace('.', '-')}-{facts.role}"
    kind, _, who = (facts.principal or "").rpartition(":")[2].partition("/")
    match kind:
        case "assumed-role":
            to = f"put-role-policy --role-name {shlex.quote(who.partition('/')[0])}"
        case "user":
            to = f"put-user-policy --user-name {shlex.quote(who.rpartition('/')[2])}"
        case _:
            return f"dawdle sqs create {shlex.quote(facts.events.name)} --emit iam --role {facts.role}"
    return f"aws iam {to} --policy-name {name} --policy-document {shlex.quote(document)}"


def _arn_of(url: str, facts: Facts) -> str:
    account, _, name = url.rpartition("/")
    known = facts.events.arn
    region = known.split(":")[3] if known else "*"
    return f"arn:aws:sqs:{region}:{account.rpartition('/')[2]}:{name}"
