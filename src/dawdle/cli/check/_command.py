"""The command `dawdle check`."""

import sys
import traceback
from pathlib import Path
from typing import Final

import click

import dawdle
from dawdle import DawdleError
from dawdle.cli._app import AppCommand, app_name_option, load_app, require_app_name
from dawdle.cli._findings import Finding, exit_code, print_findings, summary
from dawdle.cli._output import err, json_option
from dawdle.cli._running import CommandError, run_async
from dawdle.cli._worker_port import answers_of, workers_option
from dawdle.cli.check._app_rules import app_findings
from dawdle.cli.check._queue_checks import queue_findings
from dawdle.cli.check._worker_rules import worker_findings

__all__ = ["check"]

LIBRARY: Final = Path(dawdle.__file__).parent


@click.command(cls=AppCommand)
@app_name_option
@workers_option
@click.option("--offline", is_flag=True, help="Look at the code alone, and open no queue.")
@json_option
def check(app_name: str | None, *, urls: list[str], offline: bool, as_json: bool) -> int:
    """Look for what is wrong with an app and its queues, before its events find out.

    It imports the app, reads its handlers and types, opens each queue, and tries the permissions that a worker needs.
    Nothing is stored, received or changed. With the health ports of workers, it compares their handlers. The exit code
    is 1 if there is an error or a warning.
    """
    findings = _findings(require_app_name(app_name), offline=offline, urls=urls)
    print_findings(findings, as_json=as_json)
    if not as_json and (sys.stdout.isatty() or not findings):
        err().print(summary(findings))
    return exit_code(findings)


def _findings(app_name: str, *, offline: bool, urls: list[str]) -> list[Finding]:
    try:
        app = load_app(app_name)
        app.validate()
    except CommandError:  # there is no such app, which is a mistake in the command line
        raise
    except Exception as error:  # noqa: BLE001 - the user's own code may raise anything
        return [_refused(app_name, error)]
    described = app.describe()
    found = app_findings(described, app_name)
    if not offline:
        found += run_async(queue_findings(app))
    if urls:
        found += worker_findings(described, run_async(answers_of(urls)))
    return found


def _refused(app_name: str, error: Exception) -> Finding:
    text = " ".join(str(error).split())
    return Finding(
        severity="error",
        rule="code.refused",
        where=_place(error) or app_name,
        what=text if isinstance(error, DawdleError) else f"{type(error).__name__}: {text}",
        why="no process of this app starts",
        fix=f"change the code, and try again: dawdle check {app_name} --offline",
    )


def _place(error: Exception) -> str | None:
    """Return the file and line of the user's own code at which an error was raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if LIBRARY not in Path(each.filename).parents and each.filename[:1] != "<"]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None
