"""What is wrong with an app by its description alone. Facts in, findings out; asks nothing."""

from collections.abc import Iterator

from dawdle import AppDescription, EventTypeDescription, HandlerDescription
from dawdle.cli._findings import Finding

__all__ = ["app_findings"]


def app_findings(app: AppDescription, name: str) -> list[Finding]:
    """Return what is wrong with an app. `name`: how the command line names it, for the fixes."""
    return [
        *_no_handlers(app, name),
        *_queues_in_memory(app),
        *(finding for each in app.event_types for finding in _event_type(each, app)),
        *(finding for each in app.handlers for finding in _handler(each, app, name)),
    ]


def _no_handlers(app: AppDescription, name: str) -> Iterator[Finding]:
    if not app.handlers and not app.functions:
        yield Finding(
            severity="warning",
            rule="handlers.none",
            where="app",
            what="no handler is registered",
            why="a worker of this app receives nothing; an app that only signals needs none",
            fix='import the modules of the handlers where the app is made, or call dawdle.discover("your.package") '
            f"there; dawdle handlers {name} lists what is registered",
        )
    elif app.settings.get("start_listener") == "False" or not any(queue.listened for queue in app.queues):
        yield Finding(
            severity="note",
            rule="handlers.idle",
            where="app",
            what="the app has handlers and does not listen",
            why="its handlers run nowhere in this process",
            fix="remove start_listener=False, listen=() or DAWDLE_START_LISTENER, if this app is to work",
        )


def _queues_in_memory(app: AppDescription) -> Iterator[Finding]:
    for queue in app.queues:
        if not queue.shared:
            yield Finding(
                severity="warning",
                rule="queue.memory",
                where=f"queue {queue.name}",
                what="the queue is in the memory of this process",
                why="events are lost when the process ends, and no other process handles them",
                fix="export DAWDLE_SQLITE_PATH=app.db",
            )


def _event_type(event_type: EventTypeDescription, app: AppDescription) -> Iterator[Finding]:
    where = f"event {event_type.name}"
    for fault in event_type.faults:
        field, _, why = fault.partition(": ")
        yield Finding(
            severity="error",
            rule="event.field",
            where=f"{where} {field}",
            what="the field cannot travel",
            why=f"signal() refuses the event: {why}",
            fix=f"change the field in {event_type.class_name}",
        )
    if event_type.elsewhere:
        yield Finding(
            severity="note",
            rule="event.elsewhere",
            where=where,
            what=f"the type demands {', '.join(event_type.elsewhere)}, which this app does not have",
            why="each event has a copy for it, and a copy that no worker takes is dead-lettered after unclaimed=",
            fix="start a worker that has it; with --workers URL this command looks for one",
        )
    elif not event_type.handlers and app.handlers and event_type.unclaimed == "retry":
        yield Finding(
            severity="note",
            rule="event.unhandled",
            where=where,
            what="no handler of this app takes the type",
            why="unless another worker has a handler, its events are dead-lettered after unclaimed=",
            fix=f'register a handler, or declare @dawdle.event("{event_type.name}", unclaimed="drop")',
        )
    if not event_type.queues:
        yield Finding(
            severity="warning",
            rule="event.route",
            where=where,
            what="the type has no route, and the app has no queue 'default'",
            why="signal() refuses the event unless it names a queue",
            fix=f"write routes={{{event_type.class_name.rpartition('.')[2]}: …}}, or add the queue 'default'",
        )


def _handler(handler: HandlerDescription, app: AppDescription, name: str) -> Iterator[Finding]:
    where = f"handler {handler.name}"
    if app.event_types and not any(handler.name in each.handlers for each in app.event_types):
        yield Finding(
            severity="warning",
            rule="handler.unreached",
            where=where,
            what="no event that this app knows reaches it",
            why="it takes a base class without an imported subclass, or its exclude= covers its types",
            fix=f"import the events that it takes; dawdle events {name} lists those that are known",
        )
    queues = [queue for queue in app.queues if handler.queue in {None, queue.name}]
    if handler.queue is not None and not any(queue.listened for queue in queues):
        yield Finding(
            severity="note",
            rule="handler.elsewhere",
            where=where,
            what=f"it runs on the queue {handler.queue}, to which this process does not listen",
            why="another process must listen to it",
            fix=f"dawdle worker {name} --queue {handler.queue}",
        )
    slots = max((queue.concurrency for queue in queues), default=0)
    if handler.concurrency is not None and handler.concurrency > slots > 0:
        yield Finding(
            severity="warning",
            rule="handler.concurrency",
            where=where,
            what=f"its concurrency is {handler.concurrency}, and its queue has {slots} messages in flight at most",
            why="the limit is never reached",
            fix=f"dawdle worker {name} --concurrency {handler.concurrency}",
        )
