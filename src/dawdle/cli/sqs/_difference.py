"""What stands between the queues that are there and those that are wanted. Asks and changes nothing."""

import json
from collections.abc import Mapping, Sequence

import msgspec

from dawdle.cli.sqs._plan import Plan

__all__ = ["Change", "Found", "dead_letter_name", "difference", "redrive_policy"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A queue that is there: its URL and all its attributes, by SQS's names."""

    url: str
    attributes: Mapping[str, str]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One attribute of one queue that is not as it should be."""

    queue: str
    attribute: str
    now: str | None
    """None: the queue is not there, or does not have the attribute."""
    wanted: str


def difference(plan: Plan, found: Mapping[str, Found], *, given: Sequence[str] = ()) -> list[Change]:
    """Return what to change, queue by queue, in the order in which queues are made.

    `found` has the queues that are there, by name. `given` names the attributes whose value the user chose. For the
    others a value that is there already and no worse stays: a higher `maxReceiveCount`, a KMS key.
    """
    changes: list[Change] = []
    for queue in plan.queues:
        there = found.get(queue.name)
        if there is None:
            changes += [
                Change(queue=queue.name, attribute=name, now=None, wanted=value)
                for name, value in queue.attributes.items()
            ]
            continue
        has = there.attributes
        for name, value in queue.attributes.items():
            if has.get(name) == value or (name == "SqsManagedSseEnabled" and has.get("KmsMasterKeyId")):
                continue
            changes.append(Change(queue=queue.name, attribute=name, now=has.get(name), wanted=value))
    return [*changes, *_redrive_change(plan, found.get(plan.events.name), chosen="maxReceiveCount" in given)]


def redrive_policy(arn: str, max_receives: int) -> str:
    """Return the attribute RedrivePolicy: the ARN of the dead-letter queue, and the number of receives."""
    return json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": max_receives})


def dead_letter_name(queue: Found | None) -> str | None:
    """Return the name of the dead-letter queue in a queue's redrive policy; None: it has none."""
    policy = _policy(queue)
    return None if policy is None else policy[0]


def _redrive_change(plan: Plan, events: Found | None, *, chosen: bool) -> list[Change]:
    wanted = f"{plan.dead_letters.name} after {plan.max_receives} receives"
    policy = _policy(events)
    if policy is None:
        return [Change(queue=plan.events.name, attribute="RedrivePolicy", now=None, wanted=wanted)]
    name, receives = policy
    enough = receives == plan.max_receives if chosen else receives >= plan.max_receives
    if name == plan.dead_letters.name and enough:
        return []
    now = f"{name} after {receives} receives"
    return [Change(queue=plan.events.name, attribute="RedrivePolicy", now=now, wanted=wanted)]


def _policy(queue: Found | None) -> tuple[str, int] | None:
    written = "" if queue is None else queue.attributes.get("RedrivePolicy", "")
    if not written:
        return None
    policy = msgspec.json.decode(written, type=dict[str, str | int])
    return str(policy.get("deadLetterTargetArn", "")).rpartition(":")[2], int(policy.get("maxReceiveCount", 0))
