"""A plan as a construct of AWS's CDK, in Python."""

import json
from collections.abc import Mapping
from typing import Final

from dawdle.cli.sqs._emit.iam import (
    ACTIONS,
    KEY_ACTIONS,
    KEY_ALIASES,
    KEY_CONDITION,
    ROLES,
    Arns,
    Role,
    key_statement,
)
from dawdle.cli.sqs._emit.quoting import logical_id
from dawdle.cli.sqs._plan import Plan, Purpose, QueuePlan

__all__ = ["emit_cdk"]

_SECONDS: Final = {
    "MessageRetentionPeriod": "retention_period",
    "ReceiveMessageWaitTimeSeconds": "receive_message_wait_time",
    "VisibilityTimeout": "visibility_timeout",
}
_VALUES: Final = {
    ("FifoQueue", "true"): ("fifo", "True"),
    ("DeduplicationScope", "messageGroup"): ("deduplication_scope", "sqs.DeduplicationScope.MESSAGE_GROUP"),
    ("FifoThroughputLimit", "perMessageGroupId"): (
        "fifo_throughput_limit",
        "sqs.FifoThroughputLimit.PER_MESSAGE_GROUP_ID",
    ),
    ("SqsManagedSseEnabled", "true"): ("encryption", "sqs.QueueEncryption.SQS_MANAGED"),
}

_FIELDS: Final[Mapping[Purpose, str]] = {
    "events": "events",
    "dead letters": "dead_letters",
    "delayed events": "delayed",
}
_IDS: Final[Mapping[Purpose, str]] = {"events": "Events", "dead letters": "DeadLetters", "delayed events": "Delayed"}
_AS: Final[Mapping[Role, str]] = {"signaler": "a program that signals", "worker": "a worker", "operator": "an operator"}


def emit_cdk(plan: Plan) -> str:
    """Return a Python module with a construct that has the queues, and grants each role what it needs."""
    keyed = plan.kms_key is not None
    lines = [
        "import aws_cdk as cdk",
        "from aws_cdk import aws_iam as iam",
        *(["from aws_cdk import aws_kms as kms"] if keyed else []),
        "from aws_cdk import aws_sqs as sqs",
        "from constructs import Construct",
        "",
        "",
        f"class {logical_id(plan.events.name)}Queues(Construct):",
        f'    """The queues for the events of {plan.events.name}."""',
        "",
        "    def __init__(self, scope: Construct, id: str) -> None:",
        "        super().__init__(scope, id)",
        *(_key(plan.kms_key) if plan.kms_key is not None else []),
        *(line for queue in plan.queues for line in _queue(plan, queue)),
        *_environment(plan),
        *(line for role in ROLES for line in _permissions(plan, role)),
    ]
    return "\n".join(lines)


def _key(key: str) -> list[str]:
    if key.startswith("arn:"):
        made = f'kms.Key.from_key_arn(self, "Key", {json.dumps(key)})'
    elif key.startswith("alias/"):
        made = f'kms.Alias.from_alias_name(self, "Key", {json.dumps(key)})'
    else:
        arn = f'cdk.Stack.of(self).format_arn(service="kms", resource="key", resource_name={json.dumps(key)})'
        made = f'kms.Key.from_key_arn(self, "Key", {arn})'
    return [f"        key = {made}"]


def _queue(plan: Plan, queue: QueuePlan) -> list[str]:
    arguments = [f"queue_name={json.dumps(queue.name)}"]
    for attribute, value in queue.attributes.items():
        if attribute in _SECONDS:
            arguments.append(f"{_SECONDS[attribute]}=cdk.Duration.seconds({value})")
        elif attribute == "MaximumMessageSize":
            arguments.append(f"max_message_size_bytes={value}")
        elif (attribute, value) in _VALUES:
            arguments.append("=".join(_VALUES[attribute, value]))
    if plan.kms_key is not None:
        arguments += ["encryption=sqs.QueueEncryption.KMS", "encryption_master_key=key"]
    if queue is plan.events:
        arguments.append(
            f"dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count={plan.max_receives})"
        )
    arguments.append("removal_policy=cdk.RemovalPolicy.RETAIN")
    body = [f"            {each}," for each in arguments]
    head = [
        f"        self.{_FIELDS[queue.purpose]} = sqs.Queue(",
        "            self,",
        f'            "{_IDS[queue.purpose]}",',
    ]
    return [*head, *body, "        )"]


def _environment(plan: Plan) -> list[str]:
    named = {
        "DAWDLE_BACKEND": '"sqs"',
        "DAWDLE_SQS_QUEUE_URL": "self.events.queue_url",
        "DAWDLE_SQS_DEAD_LETTER_URL": "self.dead_letters.queue_url",
    }
    if plan.delayed is not None:
        named["DAWDLE_SQS_DELAY_QUEUE_URL"] = "self.delayed.queue_url"
    return [
        "",
        "    @property",
        "    def environment(self) -> dict[str, str]:",
        '        """What the environment of a program must say."""',
        "        return {",
        *(f'            "{name}": {value},' for name, value in named.items()),
        "        }",
    ]


def _permissions(plan: Plan, role: Role) -> list[str]:
    lines = [
        "",
        f"    def allow_{role}(self, grantee: iam.IGrantable) -> None:",
        f'        """Allow what {_AS[role]} does."""',
    ]
    for queue in reversed(plan.queues):
        if queue.purpose in ACTIONS[role]:
            lines += [f"        self.{_FIELDS[queue.purpose]}.grant(", "            grantee,"]
            lines += [*(f'            "sqs:{action}",' for action in ACTIONS[role][queue.purpose]), "        )"]
    key = key_statement(plan.kms_key, Arns())
    if key is not None:
        lines += [
            "        grantee.grant_principal.add_to_principal_policy(",
            "            iam.PolicyStatement(",
            f"                actions={json.dumps(KEY_ACTIONS)},",
            f"                resources=[{json.dumps(key.resource)}],",
        ]
        if key.alias is not None:
            lines.append(f"                conditions={json.dumps({KEY_CONDITION: {KEY_ALIASES: key.alias}})},")
        lines += ["            )", "        )"]
    return lines
