"""`dawdle schema snapshot` and `dawdle schema check`: write the file, and compare the code with it. Opens no queue."""

import sys
from pathlib import Path
from typing import Final

import click
from rich_click import RichGroup

from dawdle import Dawdle
from dawdle.cli._app import AppCommand, with_app
from dawdle.cli._findings import exit_code, print_findings, summary
from dawdle.cli._output import err, json_option
from dawdle.cli._running import CommandError
from dawdle.cli.schema._compare import compare
from dawdle.cli.schema._file import Snapshot, as_text, read_text
from dawdle.cli.schema._take import is_in_code, snapshot_of

__all__ = ["schema"]

FILE: Final = "dawdle-schema.json"


@click.group(cls=RichGroup)
def schema() -> None:
    """Keep what messages need of the code in a file, and check the code against it.

    Commit the file. `dawdle schema check` then tells, before a deploy, what would break messages that are already in
    the queue, and what old workers cannot read while they run beside the new ones.
    """


@schema.command(cls=AppCommand)
@with_app(required=True)
@click.option("--file", "file", default=FILE, show_default=True, metavar="FILE", help="Where to write it; - prints it.")
def snapshot(app: Dawdle, file: str) -> None:
    """Write event types, fields, handlers and functions to a file.

    It has the names and types that travel in messages, and nothing that changes by itself, so a diff of it shows what
    a change of the code means for messages. To write it anew accepts all that `dawdle schema check` found.
    """
    taken = snapshot_of(app)
    for name in (name for name, event in taken.events.items() if event.unreadable):
        err().print(
            f"warning: no event {name} can be read, so it is in the file by its name alone; dawdle check --offline "
            f"says why",
            markup=False,
            soft_wrap=True,
        )
    if file == "-":
        click.echo(as_text(taken), nl=False)
        return
    _write(file, taken)
    err().print(f"wrote {file}: {taken.counts()}", markup=False, soft_wrap=True)


@schema.command(cls=AppCommand)
@with_app(required=True)
@click.option(
    "--file", "file", default=FILE, show_default=True, metavar="FILE", help="The snapshot to check against; - is stdin."
)
@click.option("--stopped", is_flag=True, help="All old workers are stopped before new ones start.")
@click.option("--update", is_flag=True, help="If nothing breaks, write the file anew.")
@json_option
def check(app: Dawdle, file: str, *, stopped: bool, update: bool, as_json: bool) -> int:
    """Compare the code with the file, and fail on what would break messages.

    error: messages in the queue could not be handled. warning: old workers could not read what new ones signal, while
    both run, or a field seems renamed. note: what changes otherwise, or is not checked. Exit code 1 on errors and
    warnings.

    In CI, check against the file of the branch that is deployed: git show origin/main:dawdle-schema.json | dawdle
    schema check --file -
    """
    if update and file == "-":
        raise click.UsageError("--update writes a file, so name one: --file - is standard input")
    old, new = _read(file), snapshot_of(app)
    findings = compare(old, new, deploy=not stopped, in_code=is_in_code)
    print_findings(findings, as_json=as_json)
    code = exit_code(findings)
    _say(file, old, new, summary(findings), breaks=bool(code), update=update)
    if not code and update and old != new:
        _write(file, new)
    return code


def _say(file: str, old: Snapshot, new: Snapshot, found: str, *, breaks: bool, update: bool) -> None:
    """Say how it ended, on standard error: the findings alone are what a pipe gets."""
    where = "standard input" if file == "-" else file
    if breaks:
        rest = "the file stays as it is: `dawdle schema snapshot` accepts them" if update else "it would break messages"
    elif old == new:
        rest = "the file is up to date"
    elif update:
        rest = "wrote the file anew"
    else:
        rest = "nothing breaks; commit the new file: dawdle schema snapshot"
    err().print(f"{where}: {found}; {rest}", markup=False, soft_wrap=True)


def _write(file: str, snapshot: Snapshot) -> None:
    try:
        Path(file).write_text(as_text(snapshot), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"cannot write {file}: {error}") from error


def _read(file: str) -> Snapshot:
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise CommandError(
            f"there is no {file} here ({Path.cwd()}): make it with `dawdle schema snapshot`, from the code that is "
            f"deployed, and commit it"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file}: {error}") from error
    try:
        return read_text(text)
    except ValueError as error:
        raise CommandError(f"cannot use {file}: {error}") from error
