"""Queue attributes: which there are, which values they may have, and the struct that the rules read."""

import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from dawdle.testing.sqs._errors import ServiceError, service_error

__all__ = [
    "MAX_MESSAGE_BYTES",
    "READ_ONLY",
    "QueueAttributes",
    "RedrivePolicy",
    "is_known",
    "parse_change",
    "parse_new",
]

MAX_MESSAGE_BYTES: Final = 1_048_576
"""Bytes of one message and of one batch, attributes included (SQS developer guide, quotas, 2026)."""

READ_ONLY: Final = (
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
)

_NUMBERS: Final = {  # name: lowest, highest, default (SQS API reference, CreateQueue)
    "DelaySeconds": (0, 900, "0"),
    "MaximumMessageSize": (1_024, MAX_MESSAGE_BYTES, str(MAX_MESSAGE_BYTES)),
    "MessageRetentionPeriod": (60, 1_209_600, "345600"),
    "ReceiveMessageWaitTimeSeconds": (0, 20, "0"),
    "VisibilityTimeout": (0, 43_200, "30"),
    "KmsDataKeyReusePeriodSeconds": (60, 86_400, None),
}
_CHOICES: Final = {
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
    "SqsManagedSseEnabled": ("true", "false"),
}
_FIFO_ONLY: Final = ("ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
_FIFO_DEFAULTS: Final = {
    "FifoQueue": "true",
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
_REMOVABLE: Final = ("Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId")


class RedrivePolicy(msgspec.Struct, frozen=True, rename="camel"):
    """The dead-letter queue, and how often a message is received before it goes there."""

    dead_letter_target_arn: str
    max_receive_count: int


# `maxReceiveCount` may be a number or a string in the JSON (SQS developer guide).
class _RedrivePolicyJson(msgspec.Struct, frozen=True, rename="camel"):
    dead_letter_target_arn: str
    max_receive_count: int | str


class RedriveAllowPolicy(msgspec.Struct, frozen=True, rename="camel"):
    """Which queues may have this one as their dead-letter queue."""

    redrive_permission: str = "allowAll"
    source_queue_arns: list[str] = msgspec.field(default_factory=list[str])

    def allows(self, source_arn: str) -> bool:
        """Return whether the queue with this ARN may have this one as its dead-letter queue."""
        match self.redrive_permission:
            case "denyAll":
                return False
            case "byQueue":
                return source_arn in self.source_queue_arns
            case _:
                return True


class QueueAttributes(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes of one queue, parsed for the rules. `as_written` is what GetQueueAttributes returns."""

    fifo: bool
    delay: int
    max_message_bytes: int
    retention: int
    wait: int
    visibility_timeout: int
    content_based_deduplication: bool
    deduplicate_by_group: bool
    redrive_policy: RedrivePolicy | None
    redrive_allow_policy: RedriveAllowPolicy
    as_written: Mapping[str, str]


def parse_new(name: str, attributes: Mapping[str, str]) -> QueueAttributes:
    """Return the attributes of a new queue. Raises `ServiceError` for an invalid name or attribute."""
    fifo = attributes.get("FifoQueue") == "true"
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,75}\.fifo" if fifo else r"[A-Za-z0-9_-]{1,80}", name):
        raise service_error("InvalidParameterValue", _NAME_RULE[fifo])
    if attributes.get("FifoQueue", "true") != "true":
        raise _invalid("FifoQueue", attributes["FifoQueue"])
    as_written = {key: default for key, (_, _, default) in _NUMBERS.items() if default is not None}
    as_written["SqsManagedSseEnabled"] = "false" if attributes.get("KmsMasterKeyId") else "true"
    if fifo:
        as_written.update(_FIFO_DEFAULTS)
    return _parse(fifo, as_written, attributes)


def parse_change(current: QueueAttributes, attributes: Mapping[str, str]) -> QueueAttributes:
    """Return `current` with these attributes set; an empty policy removes it. Raises `ServiceError`."""
    if "FifoQueue" in attributes and attributes["FifoQueue"] != current.as_written.get("FifoQueue"):
        raise service_error("InvalidAttributeName", "You can specify the FifoQueue only during queue creation.")
    return _parse(current.fifo, dict(current.as_written), attributes)


_NAME_RULE: Final = {
    False: "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    True: "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end "
    "with .fifo suffix and be 1 to 80 in length",
}


def _parse(fifo: bool, as_written: dict[str, str], attributes: Mapping[str, str]) -> QueueAttributes:
    for name, value in attributes.items():
        _check(fifo, name, value)
        if not value and name in _REMOVABLE:
            as_written.pop(name, None)
        else:
            as_written[name] = value
    # Only now: the two may be set in one call, in any order.
    if (
        fifo
        and as_written["FifoThroughputLimit"] == "perMessageGroupId"
        and as_written["DeduplicationScope"] == "queue"
    ):
        raise _invalid("FifoThroughputLimit", "perMessageGroupId")
    return QueueAttributes(
        fifo=fifo,
        delay=int(as_written["DelaySeconds"]),
        max_message_bytes=int(as_written["MaximumMessageSize"]),
        retention=int(as_written["MessageRetentionPeriod"]),
        wait=int(as_written["ReceiveMessageWaitTimeSeconds"]),
        visibility_timeout=int(as_written["VisibilityTimeout"]),
        content_based_deduplication=as_written.get("ContentBasedDeduplication") == "true",
        deduplicate_by_group=as_written.get("DeduplicationScope") == "messageGroup",
        redrive_policy=_parse_redrive_policy(as_written["RedrivePolicy"]) if "RedrivePolicy" in as_written else None,
        redrive_allow_policy=_decode(
            "RedriveAllowPolicy", as_written.get("RedriveAllowPolicy", "{}"), RedriveAllowPolicy
        ),
        as_written=as_written,
    )


def _check(fifo: bool, name: str, value: str) -> None:
    if name in READ_ONLY or name not in _CHECKS:
        raise service_error("InvalidAttributeName", f"Unknown Attribute {name}.")
    if name in _FIFO_ONLY and not fifo:
        raise service_error("InvalidAttributeName", f"Unknown Attribute {name}.")
    if value or name not in _REMOVABLE:
        _CHECKS[name](name, value)


def _check_number(name: str, value: str) -> None:
    lowest, highest, _ = _NUMBERS[name]
    if not re.fullmatch(r"[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
        raise _invalid(name, value)


def _check_choice(name: str, value: str) -> None:
    if value not in _CHOICES[name]:
        raise _invalid(name, value)


def _check_json(name: str, value: str) -> None:
    _decode(name, value, dict[str, object])


def _check_redrive_policy(_name: str, value: str) -> None:
    _parse_redrive_policy(value)


def _check_redrive_allow_policy(name: str, value: str) -> None:
    allow = _decode(name, value, RedriveAllowPolicy)
    by_queue = allow.redrive_permission == "byQueue"
    if allow.redrive_permission not in {"allowAll", "denyAll", "byQueue"}:
        raise _invalid(name, value)
    if by_queue != bool(allow.source_queue_arns) or len(allow.source_queue_arns) > 10:
        raise _invalid(name, value)


def _accept(_name: str, _value: str) -> None:
    """Accept any value: encryption changes nothing here, and `FifoQueue` is checked when the queue is created."""


def _parse_redrive_policy(value: str) -> RedrivePolicy:
    reason = "Redrive policy is not a valid JSON map with deadLetterTargetArn and maxReceiveCount."
    try:
        policy = msgspec.json.decode(value, type=_RedrivePolicyJson)
        max_receive_count = int(policy.max_receive_count)
        if 1 <= max_receive_count <= 1_000:
            return RedrivePolicy(policy.dead_letter_target_arn, max_receive_count)
        reason = (
            f"Invalid value for maxReceiveCount: {max_receive_count}, valid values are from 1 to 1000 both inclusive."
        )
    except (msgspec.MsgspecError, ValueError):
        pass
    raise service_error(
        "InvalidParameterValue", f"Value {value} for parameter RedrivePolicy is invalid. Reason: {reason}"
    )


_T = TypeVar("_T")


def _decode(name: str, value: str, policy_type: type[_T]) -> _T:
    try:
        return msgspec.json.decode(value, type=policy_type)
    except msgspec.MsgspecError as error:
        raise _invalid(name, value) from error


def _invalid(name: str, value: str) -> ServiceError:
    return service_error("InvalidAttributeValue", f"Invalid value for the parameter {name}: {value!r}.")


_CHECKS: Final[Mapping[str, Callable[[str, str], None]]] = {
    **dict.fromkeys(_NUMBERS, _check_number),
    **dict.fromkeys(_CHOICES, _check_choice),
    "Policy": _check_json,
    "RedrivePolicy": _check_redrive_policy,
    "RedriveAllowPolicy": _check_redrive_allow_policy,
    "FifoQueue": _accept,
    "KmsMasterKeyId": _accept,
}


def is_known(name: str) -> bool:
    """Return whether SQS has a queue attribute of this name."""
    return name in READ_ONLY or name in _CHECKS
