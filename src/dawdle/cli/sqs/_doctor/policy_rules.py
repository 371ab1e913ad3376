"""What is wrong with the policies of queues, which say who may use them. Pure: facts in, findings out."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._doctor.facts import Facts, QueueFacts
from dawdle.cli.sqs._doctor.fixes import set_attributes
from dawdle.cli.sqs._emit.iam import ACTIONS

__all__ = ["RULES"]

NARROWING: Final = ("aws:source", "aws:principal", "aws:calledvia", "aws:viaawsservice", "sqs:")
"""What the names of condition keys begin with that say who asks. `aws:SecureTransport` only says how."""

TAKES: Final = frozenset({"receivemessage", "deletemessage", "purgequeue", "deletequeue", "changemessagevisibility"})


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


RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (public, other_accounts, denies)


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
