"""`dawdle handlers` and `dawdle events`: what an app has registered. Opens no queue."""

import os
from pathlib import Path

import click

from dawdle import Dawdle, EventTypeDescription, FieldDescription, FunctionDescription, HandlerDescription
from dawdle.cli._app import AppCommand, with_app
from dawdle.cli._output import Column, json_option, print_json, print_rows

__all__ = ["events", "handlers"]


@click.command(cls=AppCommand)
@with_app(required=True)
@json_option
def handlers(app: Dawdle, *, as_json: bool) -> None:
    """List the handlers and functions of an app, with the options that hold for each.

    `attempts` is how often it is tried, `timeout` the seconds of one run, `at once` how many runs in one process.
    """
    found = app.describe()
    if as_json:
        print_json({"handlers": found.handlers, "functions": found.functions})
        return
    rows = [_row(each, _events_of(each)) for each in found.handlers]
    rows += [_row(each, f"calls ({', '.join(map(_field, each.parameters))})") for each in found.functions]
    columns = (
        Column("handler"),
        Column("events", wraps=True),
        Column("queue", 3),
        Column("attempts", 2, right=True),
        Column("timeout", 4, right=True),
        Column("at once", 5, right=True),
        Column("where", 1),
    )
    print_rows(
        columns,
        rows,
        empty="no handler is registered: does the module of the app import those that have handlers, or call "
        'dawdle.discover("your.package")?',
    )


@click.command(cls=AppCommand)
@with_app(required=True)
@json_option
def events(app: Dawdle, *, as_json: bool) -> None:
    """List the types of events that an app knows: names on the wire, fields, handlers, queues.

    It knows the types that its handlers name, with their subclasses, those of its routes, and those that are declared
    by `@dawdle.event`. A `*` follows a handler that the type demands and that this app does not have.
    """
    found = app.describe().event_types
    if as_json:
        print_json(found)
        return
    columns = (
        Column("event"),
        Column("fields", wraps=True),
        Column("handled by", wraps=True),
        Column("queues", 1),
        Column("aliases", 2),
        Column("version", 2),
        Column("class", 3),
    )
    print_rows(
        columns,
        [
            (
                each.name,
                ", ".join(map(_field, each.fields)),
                _handled_by(each),
                ", ".join(each.queues),
                ", ".join(each.aliases),
                _version(each),
                each.class_name,
            )
            for each in found
        ],
        empty="this app knows no type of events: it has no handler, no route, and no class under @dawdle.event",
    )


def _handled_by(event_type: EventTypeDescription) -> str:
    return ", ".join((*event_type.handlers, *(f"{name}*" for name in event_type.elsewhere))) or "no handler here"


def _row(each: HandlerDescription | FunctionDescription, takes: str) -> tuple[object, ...]:
    timeout = None if each.timeout is None else f"{each.timeout:g} s"
    return each.name, takes, each.queue, each.max_attempts, timeout, each.concurrency, _place(each)


def _place(each: HandlerDescription | FunctionDescription) -> str | None:
    """Return where it was registered, `shop/mail.py:12`, from the current directory if it is below it."""
    if each.file is None:
        return None
    path = Path(each.file)
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{os.fspath(shown)}:{each.line}"


def _version(event_type: EventTypeDescription) -> str:
    """Return the version of a type as text, with the older ones that it reads; nothing for the first."""
    if event_type.version == 1:
        return ""
    return ", reads ".join(filter(None, [str(event_type.version), ", ".join(map(str, event_type.upcasters))]))


def _events_of(handler: HandlerDescription) -> str:
    named = ", ".join(handler.events) or "every event"
    return f"{named}, not {', '.join(handler.exclude)}" if handler.exclude else named


def _field(field: FieldDescription) -> str:
    name = field.name if field.name == field.encoded_name else f"{field.encoded_name} ({field.name})"
    default = "" if field.required else " = …" if field.default is None else f" = {field.default}"
    return f"{name}: {field.annotation}{default}"
