"""The table of operations: name, what is asked, who does it. Requests are decoded here and nowhere else."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from dawdle.testing.sqs import _administering as administering
from dawdle.testing.sqs import _moving as moving
from dawdle.testing.sqs import _receiving as receiving
from dawdle.testing.sqs import _sending as sending
from dawdle.testing.sqs import _shapes as shapes
from dawdle.testing.sqs._errors import refuse
from dawdle.testing.sqs._service import Call, Service

__all__ = ["OPERATIONS", "Operation", "target"]

Operation = Callable[[Service, bytes, Call], object]

R = TypeVar("R")


class _Target(msgspec.Struct, rename="pascal"):
    queue_url: str | None = None
    queue_name: str | None = None
    source_arn: str | None = None


_target: Final = msgspec.json.Decoder(_Target)


def target(body: bytes) -> str | None:
    """Return the name of the queue that a request is about, as far as it says so."""
    try:
        found = _target.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if found.source_arn:
        return found.source_arn.rpartition(":")[2]
    return found.queue_url.rpartition("/")[2] if found.queue_url else found.queue_name


def _operation(shape: type[R], act: Callable[[Service, R, Call], object]) -> Operation:
    decoder = msgspec.json.Decoder(shape)

    def run(service: Service, body: bytes, call: Call) -> object:
        try:
            request = decoder.decode(body)
        except msgspec.ValidationError as error:
            reason = str(error)
            if reason.startswith("Object missing required field"):
                name = reason.split("`")[1]
                raise refuse("MissingParameter", f"The request must contain the parameter {name}.") from error
            raise refuse("SerializationException", reason) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise refuse("SerializationException", str(error)) from error
        return act(service, request, call)

    return run


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateQueue": _operation(shapes.CreateQueueRequest, administering.create_queue),
    "GetQueueUrl": _operation(shapes.GetQueueUrlRequest, administering.get_queue_url),
    "ListQueues": _operation(shapes.ListQueuesRequest, administering.list_queues),
    "GetQueueAttributes": _operation(shapes.GetQueueAttributesRequest, administering.get_queue_attributes),
    "SetQueueAttributes": _operation(shapes.SetQueueAttributesRequest, administering.set_queue_attributes),
    "TagQueue": _operation(shapes.TagQueueRequest, administering.tag_queue),
    "UntagQueue": _operation(shapes.UntagQueueRequest, administering.untag_queue),
    "ListQueueTags": _operation(shapes.QueueRequest, administering.list_queue_tags),
    "PurgeQueue": _operation(shapes.QueueRequest, administering.purge_queue),
    "DeleteQueue": _operation(shapes.QueueRequest, administering.delete_queue),
    "SendMessage": _operation(shapes.SendMessageRequest, sending.send_message),
    "SendMessageBatch": _operation(shapes.SendMessageBatchRequest, sending.send_message_batch),
    "ReceiveMessage": _operation(shapes.ReceiveMessageRequest, receiving.receive_message),
    "DeleteMessage": _operation(shapes.DeleteMessageRequest, receiving.delete_message),
    "DeleteMessageBatch": _operation(shapes.DeleteMessageBatchRequest, receiving.delete_message_batch),
    "ChangeMessageVisibility": _operation(shapes.ChangeMessageVisibilityRequest, receiving.change_message_visibility),
    "ChangeMessageVisibilityBatch": _operation(
        shapes.ChangeMessageVisibilityBatchRequest, receiving.change_message_visibility_batch
    ),
    "ListDeadLetterSourceQueues": _operation(
        shapes.ListDeadLetterSourceQueuesRequest, administering.list_dead_letter_source_queues
    ),
    "StartMessageMoveTask": _operation(shapes.StartMessageMoveTaskRequest, moving.start_message_move_task),
    "ListMessageMoveTasks": _operation(shapes.ListMessageMoveTasksRequest, moving.list_message_move_tasks),
    "CancelMessageMoveTask": _operation(shapes.CancelMessageMoveTaskRequest, moving.cancel_message_move_task),
    "AddPermission": _operation(shapes.QueueRequest, administering.unsupported),
    "RemovePermission": _operation(shapes.QueueRequest, administering.unsupported),
}
