"""Compares the code with the snapshot of the code before: what of it breaks what. Snapshots in, findings out.

Two directions. In the queue are messages that the old code wrote, which the new code reads. And during a deploy workers
with the old code read what the new code writes; those findings have `deploy` in their rule. Calls of functions need no
second direction: a worker leaves a call that it cannot read to others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import msgspec

from dawdle.cli._findings import Finding
from dawdle.cli.schema import _advice as advice
from dawdle.cli.schema._advice_code import Subject
from dawdle.cli.schema._advice_fields import default_changed, in_deploy, in_queue
from dawdle.cli.schema._file import Event, Function, Handler, Kind, Snapshot
from dawdle.cli.schema._fits import gaps_between
from dawdle.cli.schema._gaps import Gap

__all__ = ["compare"]

N = TypeVar("N", Event, Handler, Function)


def compare(
    old: Snapshot, new: Snapshot, *, deploy: bool = True, in_code: Callable[[str], bool] = lambda _: False
) -> list[Finding]:
    """Return what a change of the code does to messages.

    `deploy`: old workers run beside the new ones for a while. `in_code`: whether there is a class, `module.qualname`.
    """
    return [*_events(old, new, deploy=deploy, in_code=in_code), *_handlers(old, new), *_functions(old, new)]


def _events(old: Snapshot, new: Snapshot, *, deploy: bool, in_code: Callable[[str], bool]) -> Iterator[Finding]:
    for name, event in sorted(old.events.items()):
        now = _name_now(name, new.events)
        if now is None:
            yield advice.event_removed(name, event, _added(old.events, new.events), in_code=in_code(event.type))
            continue
        current = new.events[now]
        yield from _lost_aliases(event, new.events, advice.event_alias_removed, name)
        for alias in event.aliases:
            other = _name_now(alias, new.events)
            if other not in {None, now} and not _is_read(event, new.events[str(other)], old, new):
                yield advice.event_alias_moved(name, alias, str(other))
        if current.version != event.version:
            yield from _versions(name, event, current)
            continue
        yield from _dropped_upcasters(name, event, current)
        subject = Subject(where=f"event {name}", name=now, event=current, reader=current, types=new.types)
        gaps = gaps_between(event, current, old.types, new.types)
        yield from (in_queue(subject, gap) for gap in gaps)
        if deploy:
            told = {_pair(gap) for gap in gaps}
            back = gaps_between(current, event, new.types, old.types)
            old_worker = msgspec.structs.replace(subject, reader=event, types=old.types)
            yield from (in_deploy(old_worker, gap) for gap in back if _pair(gap) not in told)
        yield from _other_defaults(subject, event, current)


def _versions(name: str, old: Event, new: Event) -> Iterator[Finding]:
    """Yield what a change of a type's version does. Its data is then a matter of code, and is not compared."""
    if new.version < old.version:
        yield advice.version_lowered(name, old, new)
        return
    lost = [each for each in (*old.upcasters, old.version) if each not in new.upcasters]
    yield advice.upcaster_missing(name, lost, new) if lost else advice.upcasters_unseen(name, old, new)


def _dropped_upcasters(name: str, old: Event, new: Event) -> Iterator[Finding]:
    lost = [each for each in old.upcasters if each not in new.upcasters]
    if lost:
        yield advice.upcaster_missing(name, lost, new)


def _handlers(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    for name, handler in sorted(old.handlers.items()):
        now = _name_now(name, new.handlers)
        if now is None:
            yield advice.handler_removed(name, handler, _added(old.handlers, new.handlers))
            continue
        current = new.handlers[now]
        yield from _lost_aliases(handler, new.handlers, advice.handler_alias_removed, name)
        for event in handler.events:
            called = _name_now(event, new.events)
            if called is not None and called not in current.events:
                yield advice.handler_event_removed(name, event)
        if handler.queue != current.queue:
            yield advice.queue_changed(f"handler {name}", handler.queue, current.queue)


def _functions(old: Snapshot, new: Snapshot) -> Iterator[Finding]:
    for name, function in sorted(old.functions.items()):
        now = _name_now(name, new.functions)
        if now is None:
            yield advice.function_removed(name, function, _added(old.functions, new.functions))
            continue
        current = new.functions[now]
        function_now = current.kind
        yield from _lost_aliases(function, new.functions, advice.function_alias_removed, name)
        subject = Subject(where=f"function {name}", name=now, reader=function_now, types=new.types)
        yield from (in_queue(subject, gap) for gap in gaps_between(function.kind, function_now, old.types, new.types))
        if function.queue != current.queue:
            yield advice.queue_changed(f"function {name}", function.queue, current.queue)


def _other_defaults(subject: Subject, old: Event, new: Event) -> Iterator[Finding]:
    for name, field in old.fields.items():
        now = new.fields.get(name)
        if now is None or field.optional or field.type != now.type or None in {field.default, now.default}:
            continue  # another type, and a default that is left out of data, are told as what they are
        if field.default != now.default:
            yield default_changed(subject, name, field, now)


def _is_read(written: Kind, read: Kind, old: Snapshot, new: Snapshot) -> bool:
    return all(gap.is_readable for gap in gaps_between(written, read, old.types, new.types))


def _pair(gap: Gap) -> object:
    """Return what a gap has in common with the same change seen from the other side."""
    if gap.problem == "renamed":
        return frozenset({gap.written, gap.read})
    if gap.problem == "maybe_renamed":
        return gap.path[:-1], frozenset({gap.was, gap.path[-1]})
    return (
        gap.path
        if gap.problem in {"default", "type", "values", "limits", "tag", "layout", "unclear"}
        else (gap.path, gap.problem)
    )


def _added(old: Mapping[str, N], new: Mapping[str, N]) -> Mapping[str, N]:
    return {name: found for name, found in new.items() if name not in old}


def _name_now(name: str, named: Mapping[str, N]) -> str | None:
    """Return what is called by a name of before: that has it, or has it as an alias."""
    if name in named:
        return name
    return next((each for each, found in named.items() if name in found.aliases), None)


def _lost_aliases(old: N, named: Mapping[str, N], tell: Callable[[str, str], Finding], name: str) -> Iterator[Finding]:
    for alias in old.aliases:
        if _name_now(alias, named) is None:
            yield tell(name, alias)
