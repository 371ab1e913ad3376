"""A plan as Terraform, or OpenTofu: the queues, and a policy for each role."""

import re
from collections.abc import Sequence

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
from dawdle.cli.sqs._emit.quoting import hcl_text
from dawdle.cli.sqs._plan import Plan, QueuePlan

__all__ = ["NAMES", "emit_terraform"]

NAMES = {
    "FifoQueue": "fifo_queue",
    "DeduplicationScope": "deduplication_scope",
    "FifoThroughputLimit": "fifo_throughput_limit",
    "MessageRetentionPeriod": "message_retention_seconds",
    "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
    "VisibilityTimeout": "visibility_timeout_seconds",
    "MaximumMessageSize": "max_message_size",
    "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
    "KmsMasterKeyId": "kms_master_key_id",
}
"""What the provider calls each attribute."""

_HEAD = """\
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.8" # older ones know no max_message_size above 256 KiB
    }
  }
}
"""


def emit_terraform(plan: Plan) -> str:
    """Return a file for Terraform, formatted as `terraform fmt` formats it."""
    blocks = [_HEAD, *(_queue(plan, queue) for queue in plan.queues)]
    blocks += [_policy(plan, role) for role in ROLES]
    blocks.append(_environment(plan))
    return "\n".join(blocks).rstrip("\n")


def _queue(plan: Plan, queue: QueuePlan) -> str:
    values = {"name": hcl_text(queue.name)}
    for attribute, value in queue.attributes.items():
        plain = value.isdigit() or value in {"true", "false"}
        values[NAMES[attribute]] = value if plain else hcl_text(value)
    lines = _aligned(values, 2)
    if queue is plan.events:
        target = f"aws_sqs_queue.{_label(plan.dead_letters)}.arn"
        lines += ["", "  redrive_policy = jsonencode({"]
        lines += _aligned({"deadLetterTargetArn": target, "maxReceiveCount": str(plan.max_receives)}, 4)
        lines.append("  })")
    return "\n".join([f'resource "aws_sqs_queue" "{_label(queue)}" {{', *lines, "}", ""])


def _policy(plan: Plan, role: Role) -> str:
    lines = [f'data "aws_iam_policy_document" "{_label(plan.events)}_{role}" {{']
    for queue in reversed(plan.queues):
        if queue.purpose in ACTIONS[role]:
            actions = [f"sqs:{action}" for action in ACTIONS[role][queue.purpose]]
            lines += ["  statement {", *_aligned(_grant(actions, f"aws_sqs_queue.{_label(queue)}.arn"), 4), "  }"]
    key = key_statement(plan.kms_key, Arns())
    if key is not None:
        lines += ["  statement {", *_aligned(_grant(KEY_ACTIONS, hcl_text(key.resource)), 4)]
        if key.alias is not None:
            named = {"test": KEY_CONDITION, "variable": KEY_ALIASES}
            written = {name: hcl_text(value) for name, value in named.items()}
            lines += ["    condition {", *_aligned({**written, "values": f"[{hcl_text(key.alias)}]"}, 6), "    }"]
        lines += ["  }"]
    return "\n".join([*lines, "}", ""])


def _grant(actions: Sequence[str], resource: str) -> dict[str, str]:
    return {"actions": f"[{', '.join(map(hcl_text, actions))}]", "resources": f"[{resource}]"}


def _environment(plan: Plan) -> str:
    urls = {
        "DAWDLE_BACKEND": '"sqs"',
        "DAWDLE_SQS_QUEUE_URL": f"aws_sqs_queue.{_label(plan.events)}.url",
        "DAWDLE_SQS_DEAD_LETTER_URL": f"aws_sqs_queue.{_label(plan.dead_letters)}.url",
    }
    if plan.delayed is not None:
        urls["DAWDLE_SQS_DELAY_QUEUE_URL"] = f"aws_sqs_queue.{_label(plan.delayed)}.url"
    lines = [f'output "{_label(plan.events)}_environment" {{', "  value = {", *_aligned(urls, 4), "  }", "}", ""]
    for role in ROLES:
        document = f"data.aws_iam_policy_document.{_label(plan.events)}_{role}.json"
        lines += [f'output "{_label(plan.events)}_{role}_policy" {{', f"  value = {document}", "}", ""]
    return "\n".join(lines)


def _aligned(values: dict[str, str], indent: int) -> list[str]:
    width = max(map(len, values))
    return [f"{' ' * indent}{name:<{width}} = {value}" for name, value in values.items()]


def _label(queue: QueuePlan) -> str:
    name = re.sub(r"\W", "_", queue.name)
    return name if name[0].isalpha() or name[0] == "_" else f"queue_{name}"
