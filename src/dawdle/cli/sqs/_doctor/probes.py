"""Tries permissions without harm. Nothing is stored, received, hidden or deleted by a probe.

What each one does:

- `SendMessage`: a batch of one message that SQS must refuse: its body has a control character, and its delay is 901 s.
  A batch that is authorized answers with a `Failed` entry, one that is not with `AccessDenied`.
- `DeleteMessage`, `ChangeMessageVisibility`: a batch with a receipt handle that is none. The same.
- `GetQueueAttributes`: is asked for one attribute.
- `ReceiveMessage`: asks for 0 messages, which SQS refuses for its number. A real receive would raise the receive count
  of what it finds, so that is made only where the queue is empty: no message is visible, in flight or delayed. It does
  not wait and hides nothing.

Batch actions have no permission of their own: `sqs:SendMessage` is that of `SendMessageBatch`, too (SQS developer
guide, 2026).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dawdle.cli.sqs._aws import DENIED, AwsClient, AwsError
from dawdle.cli.sqs._doctor.facts import Answer, QueueFacts, Try

__all__ = ["try_actions"]

REFUSED: Final = frozenset(
    {
        "InvalidMessageContents",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "InvalidParameterValueException",
        "MissingParameter",
        "ReadCountOutOfRange",
        "ReceiptHandleIsInvalid",
        "ValidationError",
        "ValidationException",
    }
)
"""Codes of a request that was let in, and then found wrong. Any other, such as a throttling, tells nothing."""

NO_HANDLE: Final = "dawdle-sqs-doctor-this-is-no-receipt-handle"


async def try_actions(client: AwsClient, queue: QueueFacts, actions: Sequence[str]) -> list[Try]:
    """Return what the credentials may do with a queue. One that is not there is not asked."""
    return [] if queue.missing else [await _try(client, queue, action) for action in actions]


async def _try(client: AwsClient, queue: QueueFacts, action: str) -> Try:
    operation, arguments = _probe(queue, action)
    try:
        answer = await client.call(operation, queue.url, QueueUrl=queue.url, **arguments)
        told, detail = _read(answer)
    except AwsError as error:
        if action == "ReceiveMessage" and error.code in REFUSED and _is_idle(queue):
            return await _receive(client, queue)
        return Try(queue=queue.url, action=action, answer=_judge(error.code), detail=error.code)
    return Try(queue=queue.url, action=action, answer=told, detail=detail, stored=bool(answer.get("Successful")))


async def _receive(client: AwsClient, queue: QueueFacts) -> Try:
    """Receive from a queue that is empty, for certainty: the probe without harm is refused for its number alone."""
    arguments = {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 0, "VisibilityTimeout": 0}
    told: Answer = "allowed"
    detail = "the empty queue was received from"
    try:
        await client.call("receive_message", queue.url, QueueUrl=queue.url, **arguments)
    except AwsError as error:
        told, detail = _judge(error.code), error.code
    return Try(queue=queue.url, action="ReceiveMessage", answer=told, detail=detail)


def _probe(queue: QueueFacts, action: str) -> tuple[str, Mapping[str, object]]:
    match action:
        case "SendMessage":
            group = {"MessageGroupId": "dawdle", "MessageDeduplicationId": "dawdle"} if queue.fifo else {}
            entry = {"Id": "dawdle", "MessageBody": "\x01 dawdle sqs doctor", "DelaySeconds": 901, **group}
            return "send_message_batch", {"Entries": [entry]}
        case "DeleteMessage":
            return "delete_message_batch", {"Entries": [{"Id": "dawdle", "ReceiptHandle": NO_HANDLE}]}
        case "ChangeMessageVisibility":
            entry = {"Id": "dawdle", "ReceiptHandle": NO_HANDLE, "VisibilityTimeout": 0}
            return "change_message_visibility_batch", {"Entries": [entry]}
        case "ReceiveMessage":
            return "receive_message", {"MaxNumberOfMessages": 0, "WaitTimeSeconds": 0, "VisibilityTimeout": 0}
        case _:
            return "get_queue_attributes", {"AttributeNames": ["QueueArn"]}


def _read(answer: Mapping[str, Any]) -> tuple[Answer, str]:
    """Read an answer without an error. Of a batch its entry says more."""
    codes = [str(entry.get("Code", "")).replace("#", ".").rpartition(".")[2] for entry in answer.get("Failed", ())]
    for code in codes:
        if code in DENIED:
            return "denied", code
    return "allowed", codes[0] if codes else "done"


def _judge(code: str) -> Answer:
    return "denied" if code in DENIED else "allowed" if code in REFUSED else "unknown"


def _is_idle(queue: QueueFacts) -> bool:
    return queue.attributes is not None and not (queue.count() or queue.count("NotVisible") or queue.count("Delayed"))
