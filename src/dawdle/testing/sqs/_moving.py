"""Message move tasks: what is in a dead-letter queue goes back to where it came from, or to another queue."""

from typing import Final

import msgspec

from dawdle.testing.sqs import _checks as checks
from dawdle.testing.sqs._errors import refuse
from dawdle.testing.sqs._message import Message, Moment
from dawdle.testing.sqs._queue import Queue
from dawdle.testing.sqs._service import Call, Move, Service
from dawdle.testing.sqs._shapes import (
    CancelMessageMoveTaskRequest,
    ListMessageMoveTasksRequest,
    StartMessageMoveTaskRequest,
)

__all__ = ["cancel_message_move_task", "list_message_move_tasks", "start_message_move_task"]

_AT_ONCE: Final = 1_000
"""Messages that a task without a rate of its own moves in one step, so that other calls get their turn."""


class StartMessageMoveTaskResult(msgspec.Struct, rename="pascal"):
    task_handle: str


class CancelMessageMoveTaskResult(msgspec.Struct, rename="pascal"):
    approximate_number_of_messages_moved: int


class ListMessageMoveTasksResultEntry(msgspec.Struct, rename="pascal", omit_defaults=True, kw_only=True):
    task_handle: str | None = None
    status: str
    source_arn: str
    destination_arn: str | None = None
    max_number_of_messages_per_second: int | None = None
    approximate_number_of_messages_moved: int
    approximate_number_of_messages_to_move: int
    failure_reason: str | None = None
    started_timestamp: int


class ListMessageMoveTasksResult(msgspec.Struct, rename="pascal"):
    results: list[ListMessageMoveTasksResultEntry]


def start_message_move_task(
    service: Service, request: StartMessageMoveTaskRequest, call: Call
) -> StartMessageMoveTaskResult:
    """Start to move what waits in a dead-letter queue."""
    source = _dead_letter_queue(service, request.source_arn)
    per_second = request.max_number_of_messages_per_second
    checks.number("MaxNumberOfMessagesPerSecond", per_second, 1, 500, 1)
    destination = None
    if request.destination_arn is not None:
        destination = service.find_arn(request.destination_arn)
        if destination is None:
            raise refuse(
                "ResourceNotFoundException",
                "The resource that you specified for the DestinationArn parameter doesn't exist.",
            )
        if destination.settings.fifo is not source.settings.fifo:
            raise refuse("UnsupportedOperation", "Source and destination queues must be of the same type.")
    if any(move.source is source and move.status == "RUNNING" for move in service.moves):
        raise refuse(
            "UnsupportedOperation",
            "There is already a task running. Only one active task is allowed for a source queue arn at a given time.",
        )
    source.advance(call.moment.at)
    move = Move(
        handle=service.new_id(),
        source=source,
        destination=destination,
        per_second=per_second,
        to_move=source.waiting,
        started_ms=call.moment.ms,
    )
    service.moves.append(move)
    _step(service, move, call.moment)
    return StartMessageMoveTaskResult(move.handle)


def list_message_move_tasks(
    service: Service, request: ListMessageMoveTasksRequest, _call: Call
) -> ListMessageMoveTasksResult:
    """Return the latest tasks of one source, the newest first."""
    source = _dead_letter_queue(service, request.source_arn)
    limit = checks.number("MaxResults", request.max_results, 1, 10, 1)
    moves = [move for move in reversed(service.moves) if move.source is source][:limit]
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
    for move in service.moves:
        if move.handle == request.task_handle and move.status == "RUNNING":
            move.status = "CANCELLED"
            return CancelMessageMoveTaskResult(move.moved)
    raise refuse("ResourceNotFoundException", "Task does not exist.")


def _dead_letter_queue(service: Service, arn: str) -> Queue:
    queue = service.find_arn(arn)
    if queue is None:
        raise refuse(
            "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist."
        )
    if not service.sources(queue):
        raise refuse("InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
    return queue


def _step(service: Service, move: Move, moment: Moment) -> None:
    """Move what may be moved now, and come back for the rest."""
    if move.status != "RUNNING":
        return
    move.source.advance(moment.at)
    for _ in range(min(move.per_second or _AT_ONCE, move.to_move - move.moved)):
        for message in move.source.pull(1):
            target = move.destination
            if target is None:
                target = service.find_arn(message.dead_letter_source or "")
            if target is None:
                move.source.store(message, 0, moment.at, again=True)
                move.status, move.failure = "FAILED", "CouldNotDetermineMessageSource"
                return
            _store_anew(service, target, message, moment)
            move.moved += 1
    if move.moved >= move.to_move or not move.source.deliverable():
        move.status = "COMPLETED"
    else:
        pause = 1.0 if move.per_second else 0.0
        service.alarm.at(moment.at + pause, lambda: _step(service, move, service.moment()))


def _store_anew(service: Service, target: Queue, message: Message, moment: Moment) -> None:
    """Store as a new message: a new id, a new age, no receives (SQS developer guide, dead-letter queue redrive)."""
    fresh = msgspec.structs.replace(
        message,
        id=service.new_id(),
        sent_ms=moment.ms,
        stored_at=moment.at,
        until=0.0,
        timer=-1,
        receives=0,
        carried=0,
        first_received_ms=0,
        dead_letter_source=None,
        sequence=target.ordering.next_sequence() if target.ordering else None,
    )
    target.store(fresh, target.settings.delay, moment.at)
    service.touch(target, moment)
