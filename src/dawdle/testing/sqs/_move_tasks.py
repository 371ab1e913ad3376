"""Message move tasks: they move dead letters back to their source queues, or to another queue."""

from typing import Final

import msgspec

from dawdle.testing.sqs import _validation as validate
from dawdle.testing.sqs._errors import service_error
from dawdle.testing.sqs._message import Instant, Message
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Call, MoveTask, Service
from dawdle.testing.sqs._shapes import (
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
)

__all__ = ["cancel_message_move_task", "list_message_move_tasks", "start_message_move_task"]

_MAX_MOVES_PER_STEP: Final = 1_000
"""Messages that a task without a rate moves in one step, so that other calls get their turn in between."""


def start_message_move_task(
    service: Service, request: StartMessageMoveTaskRequest, call: Call
) -> StartMessageMoveTaskResult:
    """Start to move the visible messages of a dead-letter queue."""
    source = _dead_letter_queue(service, request.source_arn)
    per_second = request.max_number_of_messages_per_second
    validate.number("MaxNumberOfMessagesPerSecond", per_second, 1, 500, 1)
    destination = None
    if request.destination_arn is not None:
        destination = service.find_arn(request.destination_arn)
        if destination is None:
            raise service_error(
                "ResourceNotFoundException",
                "The resource that you specified for the DestinationArn parameter doesn't exist.",
            )
        if destination.attributes.fifo is not source.attributes.fifo:
            raise service_error("UnsupportedOperation", "Source and destination queues must be of the same type.")
    # SQS allows one running task per source queue, and lists finished ones.
    if any(task.source is source and task.status == "RUNNING" for task in service.move_tasks):
        raise service_error(
            "UnsupportedOperation",
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )
    source.advance(call.now.monotonic)
    task = MoveTask(
        handle=service.new_id(),
        source=source,
        destination=destination,
        per_second=per_second,
        to_move=source.visible,
        started_ms=call.now.epoch_ms,
    )
    service.move_tasks.append(task)
    _move_some(service, task, call.now)
    return StartMessageMoveTaskResult(task.handle)


def list_message_move_tasks(
    service: Service, request: ListMessageMoveTasksRequest, _call: Call
) -> ListMessageMoveTasksResult:
    """Return the latest tasks of one source queue, the newest first."""
    source = _dead_letter_queue(service, request.source_arn)
    limit = validate.number("MaxResults", request.max_results, 1, 10, 1)
    tasks = [task for task in reversed(service.move_tasks) if task.source is source][:limit]
    return ListMessageMoveTasksResult(
        [
            ListMessageMoveTasksResultEntry(
                task_handle=task.handle if task.status == "RUNNING" else None,
                status=task.status,
                source_arn=task.source.arn,
                destination_arn=None if task.destination is None else task.destination.arn,
                max_number_of_messages_per_second=task.per_second,
                approximate_number_of_messages_moved=task.moved,
                approximate_number_of_messages_to_move=task.to_move,
                failure_reason=task.failure,
                started_timestamp=task.started_ms,
            )
            for task in tasks
        ]
    )


def cancel_message_move_task(
    service: Service, request: CancelMessageMoveTaskRequest, _call: Call
) -> CancelMessageMoveTaskResult:
    """Stop a task; messages that it has moved stay where they are."""
    for task in service.move_tasks:
        if task.handle == request.task_handle and task.status == "RUNNING":
            task.status = "CANCELLED"
            return CancelMessageMoveTaskResult(task.moved)
    raise service_error("ResourceNotFoundException", "Task does not exist.")


def _dead_letter_queue(service: Service, arn: str) -> Queue:
    queue = service.find_arn(arn)
    if queue is None:
        raise service_error(
            "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist."
        )
    if not service.dead_letter_sources(queue):
        raise service_error("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    return queue


def _move_some(service: Service, task: MoveTask, now: Instant) -> None:
    """Move as many messages as the rate allows now, and schedule the next step."""
    if task.status != "RUNNING":
        return
    task.source.advance(now.monotonic)
    for _ in range(min(task.per_second or _MAX_MOVES_PER_STEP, task.to_move - task.moved)):
        for message in task.source.remove_visible(1):
            target = task.destination
            if target is None:
                target = service.find_arn(message.dead_letter_source or "")
            # A message that was sent to the dead-letter queue directly has no source. SQS ends the task there.
            if target is None:
                task.source.store(message, 0, now.monotonic, returned=True)
                task.status, task.failure = "FAILED", "CouldNotDetermineMessageSource"
                return
            _store_as_new(service, target, message, now)
            task.moved += 1
    if task.moved >= task.to_move or not task.source.has_visible():
        task.status = "COMPLETED"
    else:
        pause = 1.0 if task.per_second else 0.0
        service.scheduler.call_at(now.monotonic + pause, lambda: _move_some(service, task, service.now()))


def _store_as_new(service: Service, target: Queue, message: Message, now: Instant) -> None:
    """Store as a new message: new id, new age, receive count 0 (SQS developer guide, dead-letter queue redrive)."""
    copy = msgspec.structs.replace(
        message,
        id=service.new_id(),
        sent_ms=now.epoch_ms,
        stored_at=now.monotonic,
        visible_at=0.0,
        timer_id=-1,
        receive_count=0,
        receive_count_on_arrival=0,
        first_received_ms=0,
        dead_letter_source=None,
        sequence_number=target.fifo.next_sequence() if target.fifo else None,
    )
    # With the queue's own delay: what comes from a dead-letter queue is a new message there.
    target.store(copy, target.attributes.delay, now.monotonic)
    service.serve_polls(target, now)
