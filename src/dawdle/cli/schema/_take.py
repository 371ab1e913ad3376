"""Takes the snapshot of an app: its event types, handlers and functions, as they are in the code now."""

import sys
from collections.abc import Iterable

import msgspec

from dawdle import Dawdle, EventTypeDescription, FunctionDescription, HandlerDescription
from dawdle.cli.schema._classes import Classes
from dawdle.cli.schema._file import Event, Function, Handler, Snapshot
from dawdle.events import CALL_PREFIX, PICKLED_HANDLER

__all__ = ["is_in_code", "snapshot_of"]


def snapshot_of(app: Dawdle) -> Snapshot:
    """Return what messages need of an app.

    Raises `ConfigurationError` for a name on the wire that means two types.
    """
    found, classes = app.describe(), Classes()
    events = {each.name: event for each in found.event_types if (event := _event(app, each, classes)) is not None}
    functions = {each.name: _function(app, each, classes) for each in found.functions}
    return Snapshot(
        events=events,
        types=classes.kinds,
        handlers={
            each.name: _handler(each, found.event_types) for each in found.handlers if each.name != PICKLED_HANDLER
        },
        functions=functions,
    )


def is_in_code(name: str) -> bool:
    """Whether there is a class `module.qualname` in what is imported."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:count]))
        if module is not None:
            found: object = module
            for each in parts[count:]:
                found = getattr(found, each, None)
            return isinstance(found, type)
    return False


def _event(app: Dawdle, described: EventTypeDescription, classes: Classes) -> Event | None:
    cls = app.event_type(described.name)
    if cls is None:
        return None
    kind = classes.kind_of(cls)
    return Event(
        **{name: getattr(kind, name) for name in kind.__struct_fields__},
        type=described.class_name,
        aliases=tuple(sorted(described.aliases)),
        version=described.version,
        upcasters=described.upcasters,
    )


def _handler(described: HandlerDescription, types: Iterable[EventTypeDescription]) -> Handler:
    return Handler(
        events=tuple(sorted(each.name for each in types if described.name in each.handlers)),
        aliases=tuple(sorted(described.aliases)),
        queue=described.queue,
    )


def _function(app: Dawdle, described: FunctionDescription, classes: Classes) -> Function:
    cls = app.event_type(CALL_PREFIX + described.name)
    kind = None if cls is None else classes.kind_of(cls)
    fields = {} if kind is None else kind.fields
    return Function(
        unreadable=kind is not None and kind.unreadable,
        # A default is the worker's own and never travels, so it may be anything.
        parameters={
            name: field if field.default is None else msgspec.structs.replace(field, default="…")
            for name, field in fields.items()
        },
        aliases=tuple(sorted(described.aliases)),
        queue=described.queue,
    )
