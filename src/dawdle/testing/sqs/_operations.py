"""The table of operations: name, shape of the request, function. Requests are decoded here and nowhere else."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from dawdle.testing.sqs import _move_tasks as move_tasks
from dawdle.testing.sqs import _queue_admin as queue_admin
from dawdle.testing.sqs import _receive as receive
from dawdle.testing.sqs import _send as send
from dawdle.testing.sqs import _shapes as shapes
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._service import Call, Service

__all__ = ["OPERATIONS", "Operation", "queue_name_in"]

Operation = Callable[[Service, bytes, Call], object]

R = TypeVar("R")


class _NamedQueue(msgspec.Struct, rename="pascal"):
    queue_url: str | None = None
    queue_name: str | None = None
    source_arn: str | None = None


_named_queue: Final = msgspec.json.Decoder(_NamedQueue)


def queue_name_in(body: bytes) -> str | None:
    """Return the name of the queue that a request is about; None: it does not say, or cannot be decoded."""
    try:
        found = _named_queue.decode(body)
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
            # msgspec names the missing field only in its message: "Object missing required field `QueueUrl`".
            reason = str(error)
            if reason.startswith("Object missing required field"):
                name = reason.split("`")[1]
                raise service_error("MissingParameter", f"The request must contain the parameter {name}.") from error
            raise service_error("SerializationException", reason) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise service_error("SerializationException", str(error)) from error
        return act(service, request, call)

    return run


OPERATIONS: Final[Mapping[str, Operation]] = {
    "CreateQueue": _operation(shapes.CreateQueueRequest, queue_admin.create_queue),
    "GetQueueUrl": _operation(shapes.GetQueueUrlRequest, queue_admin.get_queue_url),
    "ListQueues": _operation(shapes.ListQueuesRequest, queue_admin.list_queues),
    "GetQueueAttributes": _operation(shapes.GetQueueAttributesRequest, queue_admin.get_queue_attributes),
    "SetQueueAttributes": _operation(shapes.SetQueueAttributesRequest, queue_admin.set_queue_attributes),
    "TagQueue": _operation(shapes.TagQueueRequest, queue_admin.tag_queue),
    "UntagQueue": _operation(shapes.UntagQueueRequest, queue_admin.untag_queue),
    "ListQueueTags": _operation(shapes.QueueRequest, queue_admin.list_queue_tags),
    "PurgeQueue": _operation(shapes.QueueRequest, queue_admin.purge_queue),
    "DeleteQueue": _operation(shapes.QueueRequest, queue_admin.delete_queue),
    "SendMessage": _operation(shapes.SendMessageRequest, send.send_message),
    "SendMessageBatch": _operation(shapes.SendMessageBatchRequest, send.send_message_batch),
    "ReceiveMessage": _operation(shapes.ReceiveMessageRequest, receive.receive_message),
    "DeleteMessage": _operation(shapes.DeleteMessageRequest, receive.delete_message),
    "DeleteMessageBatch": _operation(shapes.DeleteMessageBatchRequest, receive.delete_message_batch),
    "ChangeMessageVisibility": _operation(shapes.ChangeMessageVisibilityRequest, receive.change_message_visibility),
    "ChangeMessageVisibilityBatch": _operation(
        shapes.ChangeMessageVisibilityBatchRequest, receive.change_message_visibility_batch
    ),
    "ListDeadLetterSourceQueues": _operation(
        shapes.ListDeadLetterSourceQueuesRequest, queue_admin.list_dead_letter_source_queues
    ),
    "StartMessageMoveTask": _operation(shapes.StartMessageMoveTaskRequest, move_tasks.start_message_move_task),
    "ListMessageMoveTasks": _operation(shapes.ListMessageMoveTasksRequest, move_tasks.list_message_move_tasks),
    "CancelMessageMoveTask": _operation(shapes.CancelMessageMoveTaskRequest, move_tasks.cancel_message_move_task),
    "AddPermission": _operation(shapes.QueueRequest, queue_admin.unsupported),
    "RemovePermission": _operation(shapes.QueueRequest, queue_admin.unsupported),
}
