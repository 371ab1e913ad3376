"""Says what becomes of messages whose type, handler or function is not found any more, and what to do. Texts only."""

from collections.abc import Mapping, Sequence
from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.schema._file import Event, Function, Handler

__all__ = [
    "event_alias_moved",
    "event_alias_removed",
    "event_removed",
    "function_alias_removed",
    "function_removed",
    "handler_alias_removed",
    "handler_event_removed",
    "handler_removed",
    "named_tuple",
    "queue_changed",
    "upcaster_missing",
    "upcasters_unseen",
    "version_lowered",
]

LEFT: Final = "each worker leaves them to the others, and after a day (`unclaimed`) they are dead-lettered"

ACCEPT: Final = "; once none is left, `dawdle schema snapshot` forgets it"


def event_removed(name: str, old: Event, added: Mapping[str, Event], *, in_code: bool) -> Finding:
    """Tell of a type whose name on the wire means nothing any more.

    `added`: the types that are new. `in_code`: whether the class is still there.
    """
    lost = f"Events of it in the queue: {LEFT}."
    if in_code and all(event.type != old.type for event in added.values()):
        return _error(
            "event-removed",
            f"event {name}",
            "no handler takes it any more",
            lost,
            f"let a handler take it until no event of it is left; or, if it is for the workers of another app, declare "
            f'it: @dawdle.event("{name}"){ACCEPT}',
        )
    fix = f"keep the class until no event of it is left in a queue, delayed, or a dead letter{ACCEPT}"
    heir = _only(
        [each for each, event in added.items() if event.type == old.type],
        [each for each, event in added.items() if _last(event.type) == _last(old.type)],
        [each for each, event in added.items() if old.fields and _types(event) == _types(old)],
    )
    if heir is not None:
        aliases = named_tuple((*added[heir].aliases, name))
        fix = f'if it is {heir} now: @dawdle.event("{heir}", aliases={aliases}). If not: {fix}'
    return _error("event-removed", f"event {name}", "the type is gone", lost, fix)


def event_alias_removed(name: str, alias: str) -> Finding:
    """Tell of an alias of a type that means nothing any more."""
    return _error(
        "event-alias-removed",
        f"event {name}",
        f"the alias {alias!r} is gone",
        f"Events in the queue that were signaled under this name: {LEFT}.",
        f"keep it: @dawdle.event(…, aliases=({alias!r},)){ACCEPT}",
    )


def event_alias_moved(name: str, alias: str, other: str) -> Finding:
    """Tell of an alias that means another type now, which does not read the data of the one before."""
    return _error(
        "event-alias-moved",
        f"event {name}",
        f"the alias {alias!r} means {other} now",
        f"Events in the queue that were signaled under this name have the data of {name}: they are dead-lettered.",
        f"let {name} keep the alias until no such event is left{ACCEPT}",
    )


def version_lowered(name: str, old: Event, new: Event) -> Finding:
    """Tell of a version that is lower than it was."""
    return _error(
        "version-lowered",
        f"event {name}",
        f"version={old.version} is version={new.version} now",
        f"Events of version {old.version} in the queue: {LEFT}.",
        f"a version only grows: for a change back write version={old.version + 1}, and an upcaster of version "
        f"{old.version}",
    )


def upcaster_missing(name: str, versions: Sequence[int], new: Event) -> Finding:
    """Tell of versions that were read, or written, and have no upcaster now."""
    first = versions[0]
    told = f"version {first}" if len(versions) == 1 else f"versions {', '.join(map(str, versions))}"
    return _error(
        "upcaster-missing",
        f"event {name}",
        f"nothing reads data of {told}",
        "Events of it in the queue are dead-lettered, with that as the reason.",
        f'@dawdle.event("{name}", version={new.version}, upcasters={{{first}: upcast, …}}), where upcast(data) returns '
        f"the data of version {first + 1}{ACCEPT}",
    )


def upcasters_unseen(name: str, old: Event, new: Event) -> Finding:
    """Tell that data of older versions is read by code, which is not looked into."""
    return Finding(
        severity="note",
        rule="schema.upcasters-unseen",
        where=f"event {name}",
        what=f"version {old.version} is version {new.version} now",
        why=f"Events of version {old.version} in the queue are read by upcasters, which are code: not checked. Old "
        f"workers leave events of version {new.version} to new ones.",
        fix=f"test that the upcasters read an event of version {old.version}; then write the file anew: dawdle schema "
        f"snapshot",
    )


def handler_removed(name: str, old: Handler, added: Mapping[str, Handler]) -> Finding:
    """Tell of a handler that may be owed retries, and is gone. `added`: the handlers that are new."""
    heir = _only(
        [each for each in added if _last(each) == _last(name)],
        [each for each, handler in added.items() if handler.events == old.events],
    )
    fix = f"keep it until no retry for it is left{ACCEPT}"
    if heir is not None:
        aliases = named_tuple((*added[heir].aliases, name))
        fix = f"if it is {heir} now: @dawdle.on_event(…, aliases={aliases}). If not: {fix}"
    why = f"Retries that are owed to it, and its dead letters when they are redriven: {LEFT}."
    return _error("handler-removed", f"handler {name}", "the handler is gone", why, fix)


def handler_alias_removed(name: str, alias: str) -> Finding:
    """Tell of a handler's alias that means nothing any more."""
    return _error(
        "handler-alias-removed",
        f"handler {name}",
        f"the alias {alias!r} is gone",
        f"Retries that are owed to this name: {LEFT}.",
        f"keep it: @dawdle.on_event(…, aliases=({alias!r},)){ACCEPT}",
    )


def handler_event_removed(name: str, event: str) -> Finding:
    """Tell of a handler that does not take a type any more."""
    return _error(
        "handler-event-removed",
        f"handler {name}",
        f"it does not take {event} any more",
        f"Retries of such events that are owed to it: {LEFT}.",
        f"let it take the type and do nothing, until no retry is left{ACCEPT}",
    )


def function_removed(name: str, old: Function, added: Mapping[str, Function]) -> Finding:
    """Tell of a function that may be called by messages, and is gone. `added`: the functions that are new."""
    heir = _only(
        [each for each in added if _last(each) == _last(name)],
        [each for each, function in added.items() if function.parameters == old.parameters],
    )
    fix = f"keep it until no call of it is left{ACCEPT}"
    if heir is not None:
        aliases = named_tuple((*added[heir].aliases, name))
        fix = f"if it is {heir} now: @dawdle.function(aliases={aliases}). If not: {fix}"
    return _error(
        "function-removed", f"function {name}", "the function is gone", f"Calls of it in the queue: {LEFT}.", fix
    )


def function_alias_removed(name: str, alias: str) -> Finding:
    """Tell of a function's alias that means nothing any more."""
    return _error(
        "function-alias-removed",
        f"function {name}",
        f"the alias {alias!r} is gone",
        f"Calls in the queue by this name: {LEFT}.",
        f"keep it: @dawdle.function(aliases=({alias!r},)){ACCEPT}",
    )


def queue_changed(where: str, old: str | None, new: str | None) -> Finding:
    """Tell of a handler or a function that runs on another queue than before."""
    was, now = (f"queue={each!r}" if each else "no queue=" for each in (old, new))
    return _error(
        "queue-changed",
        where,
        f"{was} is {now} now",
        f"What was stored for it in {'its queue' if old is None else f'the queue {old!r}'} is not for it any more: it "
        f"may be skipped, or left to other workers and dead-lettered after a day (`unclaimed`).",
        "register it under a new name for the new queue, and keep the old one until its queue is empty",
    )


def named_tuple(names: Sequence[str]) -> str:
    """Return names as a tuple in code."""
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"({quoted},)" if len(names) == 1 else f"({quoted})"


def _only(*guesses: Sequence[str]) -> str | None:
    """Return what something that is gone has become: the only answer of the first guess that has one answer."""
    return next((each[0] for each in guesses if len(each) == 1), None)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _types(event: Event) -> Mapping[str, str]:
    return {name: field.type for name, field in event.fields.items()}


def _error(rule: str, where: str, what: str, why: str, fix: str) -> Finding:
    return Finding(severity="error", rule=f"schema.{rule}", where=where, what=what, why=why, fix=fix)
