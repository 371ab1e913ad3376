"""The least that each role may do, as IAM policies. The table here is also what `doctor` tries."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from dawdle.cli.sqs._plan import Plan, Purpose

__all__ = [
    "ACTIONS",
    "KEY_ACTIONS",
    "KEY_ALIASES",
    "KEY_CONDITION",
    "ROLES",
    "Arns",
    "KeyStatement",
    "Role",
    "emit_iam",
    "key_statement",
    "policy",
]

Role = Literal["signaler", "worker", "operator"]
ROLES: Final[tuple[Role, ...]] = ("signaler", "worker", "operator")

SEND: Final = ("SendMessage",)
RECEIVE: Final = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")
LOOK: Final = ("GetQueueAttributes",)

ACTIONS: Final[Mapping[Role, Mapping[Purpose, Sequence[str]]]] = {
    "signaler": {"events": SEND, "delayed events": SEND},
    # A worker stores retries and the next hop of a long delay, and dead letters in the other queue.
    "worker": {
        "events": (*RECEIVE, *LOOK, *SEND),
        "delayed events": (*RECEIVE, *SEND),
        "dead letters": SEND,
    },
    # Looking at dead letters holds and releases them, a redrive sends them to their queue, and the rest counts.
    "operator": {
        "events": (*LOOK, *SEND),
        "delayed events": LOOK,
        "dead letters": (*RECEIVE, *LOOK),
    },
}
"""What each role does with each queue. Batches need no permission of their own (SQS developer guide, 2026)."""


KEY_ACTIONS: Final = ("kms:GenerateDataKey", "kms:Decrypt")
KEY_CONDITION: Final = "ForAnyValue:StringEquals"
KEY_ALIASES: Final = "kms:ResourceAliases"


class KeyStatement(NamedTuple):
    """A key that a role must be allowed to use: its ARN, and if that stands for many, the alias that it must have."""

    resource: str
    alias: str | None


class Arns(NamedTuple):
    """What makes an ARN of a queue's name. `*` where it is not known: it stands for all of them."""

    region: str = "*"
    account: str = "*"
    partition: str = "aws"

    def queue(self, name: str) -> str:
        """Return the ARN of a queue."""
        return f"arn:{self.partition}:sqs:{self.region}:{self.account}:{name}"


def emit_iam(plan: Plan, arns: Arns, roles: Iterable[Role] = ROLES) -> str:
    """Return the policy of one role, or an object of them by role."""
    documents = {role: policy(plan, role, arns) for role in roles}
    only = next(iter(documents.values())) if len(documents) == 1 else documents
    return json.dumps(only, indent=2)


def policy(plan: Plan, role: Role, arns: Arns) -> dict[str, Any]:
    """Return the policy document of a role: what a file for `aws iam put-role-policy` holds."""
    statements: list[dict[str, Any]] = [
        {
            "Sid": "".join(word.capitalize() for word in (role, *queue.purpose.split())),
            "Effect": "Allow",
            "Action": [f"sqs:{action}" for action in ACTIONS[role][queue.purpose]],
            "Resource": arns.queue(queue.name),
        }
        for queue in reversed(plan.queues)
        if queue.purpose in ACTIONS[role]
    ]
    key = key_statement(plan.kms_key, arns)
    if key is not None:
        alias = {} if key.alias is None else {"Condition": {KEY_CONDITION: {KEY_ALIASES: key.alias}}}
        statements.append({"Sid": "Key", "Effect": "Allow", "Action": KEY_ACTIONS, "Resource": key.resource, **alias})
    return {"Version": "2012-10-17", "Statement": statements}


def key_statement(key: str | None, arns: Arns) -> KeyStatement | None:
    """Return on which keys of KMS every role needs `KEY_ACTIONS`; None: on none.

    The policy of AWS's own key for SQS lets all of the account use it.
    """
    if key is None or key == "alias/aws/sqs":
        return None
    if key.startswith("arn:") and ":key/" in key:
        return KeyStatement(key, None)
    keys = f"arn:{arns.partition}:kms:{arns.region}:{arns.account}:key/"
    alias = key.rpartition(":")[2]
    # IAM knows a key by its id only. An alias is a condition.
    return KeyStatement(f"{keys}*", alias) if alias.startswith("alias/") else KeyStatement(f"{keys}{key}", None)
