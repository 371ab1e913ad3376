"""Message move tasks: what is in a dead-letter queue goes back to where it came from, or to another queue."""

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
"""Messages that a task without a rate of its own moves in one step, so that other calls get their turn."""


def start_message_move_task(
    service: Service, request: StartMessageMoveTaskRequest, call: Call
) -> StartMessageMoveTaskResult:
    """Start to move what waits in a dead-letter queue."""
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
    if any(move.source is source and move.status == "RUNNING" for move in service.move_tasks):
        raise service_error(
            "UnsupportedOperation",
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )
    source.advance(call.now.monotonic)
    move = MoveTask(
        handle=service.new_id(),
        source=source,
        destination=destination,
        per_second=per_second,
        to_move=source.visible,
        started_ms=call.now.epoch_ms,
    )
    service.move_tasks.append(move)
    _move_some(service, move, call.now)
    return StartMessageMoveTaskResult(move.handle)


def list_message_move_tasks(
    service: Service, request: ListMessageMoveTasksRequest, _call: Call
) -> ListMessageMoveTasksResult:
    """Return the latest tasks of one source, the newest first."""
    source = _dead_letter_queue(service, request.source_arn)
    limit = validate.number("MaxResults", request.max_results, 1, 10, 1)
    moves = [move for move in reversed(service.move_tasks) if move.source is source][:limit]
    return ListMessageMoveTasksResult(
        [
            ListMessageMoveTasksResultEntry(
                task_handle=move.handle if move.status == "RUNNING" else None,
                status=move.status,
                source_arn=move.source.arn,
                destination_arn=None if move.destination is None else move.destination.arn,
                max_number_of_messages_per_second=move.per_second,
                approximate_number_of_messages_moved=move.moved,
                approximate_number_of_messages_to_move=move.to_move,
                failure_reason=move.failure,
                started_timestamp=move.started_ms,
            )
            for move in moves
        ]
    )


def cancel_message_move_task(
    service: Service, request: CancelMessageMoveTaskRequest, _call: Call
) -> CancelMessageMoveTaskResult:
    """Stop a task; what it moved stays moved."""
    for move in service.move_tasks:
        if move.handle == request.task_handle and move.status == "RUNNING":
            move.status = "CANCELLED"
            return CancelMessageMoveTaskResult(move.moved)
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
    """Move what may be moved now, and come back for the rest."""
    if task.status != "RUNNING":
        return
    task.source.advance(now.monotonic)
    for _ in range(min(task.per_second or _MAX_MOVES_PER_STEP, task.to_move - task.moved)):
        for message in task.source.remove_visible(1):
            target = task.destination
            if target is None:
                target = service.find_arn(message.dead_letter_source or "")
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
    """Store as a new message: a new id, a new age, no receives (SQS developer guide, dead-letter queue redrive)."""
    fresh = msgspec.structs.replace(
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
    target.store(fresh, target.attributes.delay, now.monotonic)
    service.serve_polls(target, now)
