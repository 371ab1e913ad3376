"""Who may do what, and who else receives. Pure: facts in, findings out."""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._doctor.facts import Facts, QueueFacts
from dawdle.cli.sqs._doctor.fixes import aws, set_attributes
from dawdle.cli.sqs._emit.iam import ACTIONS
from dawdle.cli.sqs._plan import Purpose

__all__ = ["RULES", "idle_receives"]

NARROWING: Final = ("aws:source", "aws:principal", "aws:calledvia", "aws:viaawsservice", "sqs:")
"""What the names of condition keys begin with that say who asks. `aws:SecureTransport` only says how."""

TAKES: Final = frozenset({"receivemessage", "deletemessage", "purgequeue", "deletequeue", "changemessagevisibility"})


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


def public(facts: Facts) -> Iterator[Finding]:
    """Any account may use the queue."""
    for queue in facts.readable:
        for statement in filter(_is_public, _statements(queue)):
            yield Finding(
                severity="error",
                rule="sqs.policy-public",
                where=queue.name,
                what=f"its policy lets every AWS account do {', '.join(_actions(statement)) or 'what it names'}",
                why="Strangers may read, forge or delete events.",
                fix=_without_flagged(facts, queue),
            )


def other_accounts(facts: Facts) -> Iterator[Finding]:
    """Another account may take events away."""
    for queue in facts.readable:
        for statement in _statements(queue):
            foreign, takes = _takers(queue, statement)
            if foreign:
                yield Finding(
                    severity="warning",
                    rule="sqs.policy-account",
                    where=queue.name,
                    what=f"its policy lets account {', '.join(foreign)} do {', '.join(takes)}",
                    why="What another program receives, your workers do not: events are lost to them without a trace.",
                    fix=_without_flagged(facts, queue),
                )


def denies(facts: Facts) -> Iterator[Finding]:
    """The queue's own policy denies what dawdle does, whatever a role is allowed."""
    for queue in facts.readable:
        for statement in _statements(queue):
            denied = _denied(queue, statement)
            if denied:
                yield Finding(
                    severity="error",
                    rule="sqs.policy-deny",
                    where=queue.name,
                    what=f"its policy denies {', '.join(denied)} to {_who(statement)}",
                    why="A deny wins over every permission of a role. dawdle needs these actions.",
                    fix=_without_flagged(facts, queue),
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
        if queue.purpose == "dead letters" or not queue.sources:
            continue
        others = [name for name in queue.sources if name != queue.name]
        if others and queue.attributes is not None:
            yield Finding(
                severity="warning",
                rule="sqs.is-dead-letter-queue",
                where=queue.name,
                what=f"it is the dead-letter queue of {', '.join(others)}",
                why="Workers handle what arrives here: letters of other queues are run again, or dead-lettered again.",
                fix=set_attributes(facts, queue, {"RedriveAllowPolicy": '{"redrivePermission": "denyAll"}'})
                + f"  # then give {others[0]} a dead-letter queue of its own",
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
        fix=aws(
            facts,
            "cloudtrail lookup-events",
            lookup_attributes=f"AttributeKey=ResourceName,AttributeValue={queue.name}",
        ),
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
    public,
    other_accounts,
    denies,
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


def _statements(queue: QueueFacts) -> list[Mapping[str, Any]]:
    found: object = queue.document("Policy").get("Statement", [])
    return cast("list[Mapping[str, Any]]", found if isinstance(found, list) else [found])


def _without_flagged(facts: Facts, queue: QueueFacts) -> str:
    """Return the command that takes every statement with a finding out of a queue's policy.

    All of them at once: commands that each take out one would put back what the other has taken.
    """
    left = [
        each for each in _statements(queue) if not (_is_public(each) or _takers(queue, each)[0] or _denied(queue, each))
    ]
    policy = json.dumps({**queue.document("Policy"), "Statement": left}) if left else ""
    return set_attributes(facts, queue, {"Policy": policy})


def _takers(queue: QueueFacts, statement: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the other accounts that a statement lets take messages away, and by which actions."""
    foreign = [each for each in _accounts(statement) if each != queue.account]
    takes = [each for each in _actions(statement) if _matches(each, TAKES)]
    return (foreign, takes) if _effect(statement) == "allow" and foreign and takes else ([], [])


def _denied(queue: QueueFacts, statement: Mapping[str, Any]) -> list[str]:
    """Return the actions that dawdle needs and a statement denies. With a condition it cannot be told for whom."""
    if _effect(statement) != "deny" or statement.get("Condition"):
        return []
    needed = {action.lower() for role in ACTIONS.values() for action in role.get(queue.purpose, ())}
    return [each for each in _actions(statement) if _matches(each, needed)]


def _effect(statement: Mapping[str, Any]) -> str:
    return str(statement.get("Effect", "")).lower()


def _listed(value: object) -> list[str]:
    if isinstance(value, list):
        return [str(each) for each in cast("list[object]", value)]
    return [] if value is None else [str(value)]


def _actions(statement: Mapping[str, Any]) -> list[str]:
    return _listed(statement.get("Action"))


def _matches(action: str, names: frozenset[str] | set[str]) -> bool:
    """Whether an action of a policy, such as `sqs:*` or `SQS:Receive*`, is one of these."""
    wanted = action.lower().removeprefix("sqs:")
    if wanted.endswith("*"):
        return any(name.startswith(wanted[:-1]) for name in names)
    return wanted in names


def _principals(statement: Mapping[str, Any]) -> list[str]:
    who = statement.get("Principal")
    if isinstance(who, dict):
        return _listed(cast("dict[str, object]", who).get("AWS"))
    return _listed(who)


def _is_public(statement: Mapping[str, Any]) -> bool:
    if _effect(statement) != "allow" or ("NotPrincipal" not in statement and "*" not in _principals(statement)):
        return False
    conditions = cast("dict[str, dict[str, object]]", statement.get("Condition") or {})
    keys = [key.lower() for operator in conditions.values() for key in operator]
    return not any(key.startswith(NARROWING) for key in keys)


def _accounts(statement: Mapping[str, Any]) -> list[str]:
    """Return the accounts that a statement names, by their ids."""
    ids = [each.split(":")[4] if each.startswith("arn:") else each for each in _principals(statement)]
    return [each for each in dict.fromkeys(ids) if each.isdigit()]


def _who(statement: Mapping[str, Any]) -> str:
    return ", ".join(_principals(statement)) or "everyone but some"
