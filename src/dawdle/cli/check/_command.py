"""The command `dawdle check`."""

import sys

import click

from dawdle import ConfigurationError
from dawdle.cli._app import AppCommand, app_name_option, load_app, require_app_name
from dawdle.cli._findings import Finding, exit_code, print_findings, summary
from dawdle.cli._output import err, json_option
from dawdle.cli._running import run_async
from dawdle.cli._worker_port import answers_of, workers_option
from dawdle.cli.check._app_rules import app_findings
from dawdle.cli.check._queue_checks import queue_findings
from dawdle.cli.check._worker_rules import worker_findings

__all__ = ["check"]


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
    except ConfigurationError as error:
        return [
            Finding(
                severity="error",
                rule="code.refused",
                where=app_name,
                what=" ".join(str(error).split()),
                why="the app cannot be imported, so no process of it starts",
                fix=f"change it as the text says, and try again: dawdle check {app_name} --offline",
            )
        ]
    described = app.describe()
    found = app_findings(described, app_name)
    if not offline:
        found += run_async(queue_findings(app))
    if urls:
        found += worker_findings(described, run_async(answers_of(urls)))
    return found
