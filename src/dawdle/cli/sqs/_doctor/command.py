"""`dawdle sqs doctor`: the command. Asks, prints the facts and the findings."""

import os
import sys
from collections.abc import Sequence

import click
import msgspec

from dawdle.backends.sqs import SQS
from dawdle.cli._app import AppCommand, app_name_option, load_app
from dawdle.cli._findings import Finding, exit_code, print_findings, summary, worst_first
from dawdle.cli._output import Column, err, json_option, out, print_json, print_rows
from dawdle.cli._running import CommandError, run_async
from dawdle.cli.sqs._doctor.access_rules import idle_receives
from dawdle.cli.sqs._doctor.ask import ask
from dawdle.cli.sqs._doctor.facts import Facts
from dawdle.cli.sqs._doctor.queue_rules import duration
from dawdle.cli.sqs._doctor.rules import findings
from dawdle.cli.sqs._emit.iam import ROLES, Role

__all__ = ["doctor"]

COLUMNS = (
    Column("queue"),
    Column("holds", rank=2),
    Column("visible", right=True),
    Column("in flight", right=True),
    Column("delayed", right=True),
    Column("oldest", right=True, rank=1),
)
HOURS_A_MONTH = 730
DOLLARS_A_MILLION = {False: 0.40, True: 0.50}
"""Dollars for a million requests to a standard queue, and to a FIFO queue, in us-east-1 (SQS pricing, June 2026)."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints for each queue of events."""

    facts: Facts
    findings: Sequence[Finding]
    idle_requests_a_month: int
    idle_dollars_a_month: float


@click.command(cls=AppCommand)
@click.argument("queue_url", required=False)
@app_name_option
@click.option("--role", type=click.Choice(ROLES), default="worker", help="Whose permissions to try. Default: worker.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="How many poll: for costs, and to notice others.")
@json_option
def doctor(*, queue_url: str | None, app_name: str | None, role: Role, workers: int | None, as_json: bool) -> int:
    """Look for mistakes in queues on SQS: their attributes, dead letters, permissions, and who else receives.

    Takes an app, or the URL of a queue; without both it is the queue that DAWDLE_SQS_QUEUE_URL names. It changes
    nothing: no message is stored, hidden or deleted. Each finding has its reason, and a command that mends it. The exit
    code is 1 if there is one.
    """
    queues = _named_queues(queue_url, app_name)

    async def main() -> list[Facts]:
        return [await ask(queue, role=role, workers=workers) for queue in queues]

    reports = [_report(facts) for facts in run_async(main())]
    found = worst_first(finding for report in reports for finding in report.findings)
    if as_json:
        print_json(reports)
    else:
        _print(reports, found)
    return exit_code(found)


def _named_queues(url: str | None, app_name: str | None) -> list[SQS]:
    if url is not None:
        return [_by_url(url)]
    if app_name is None:
        return [SQS()]
    queues = [each for each in load_app(app_name).backends.values() if isinstance(each, SQS)]
    if not queues:
        raise CommandError(f"{app_name} has no queue on SQS: set DAWDLE_SQS_QUEUE_URL, or name the URL of a queue")
    return queues


def _by_url(url: str) -> SQS:
    if "://" not in url:
        raise click.BadParameter(f"{url!r} is neither an app, as module:attribute, nor the URL of a queue")
    if url != os.environ.get("DAWDLE_SQS_QUEUE_URL"):  # the variables beside it are about another queue
        for name in ("DAWDLE_SQS_DEAD_LETTER_URL", "DAWDLE_SQS_DELAY_QUEUE_URL"):
            os.environ.pop(name, None)
    return SQS(url)


def _report(facts: Facts) -> Report:
    queues = 1 if facts.delayed is None else 2
    workers = 1 if facts.workers is None else facts.workers
    requests = round(workers * queues * idle_receives(facts.wait) * HOURS_A_MONTH)
    dollars = round(requests / 1e6 * DOLLARS_A_MILLION[facts.events.fifo], 2)
    return Report(facts=facts, findings=findings(facts), idle_requests_a_month=requests, idle_dollars_a_month=dollars)


def _print(reports: Sequence[Report], found: Sequence[Finding]) -> None:
    if sys.stdout.isatty():
        for report in reports:
            _print_facts(report)
    print_findings(found)
    err().print(summary(found), style="bold")


def _print_facts(report: Report) -> None:
    facts = report.facts
    rows = [
        [
            queue.name,
            queue.purpose,
            *([queue.count(), queue.count("NotVisible"), queue.count("Delayed")] if queue.attributes else ["?"] * 3),
            "?" if queue.oldest is None else duration(queue.oldest),
        ]
        for queue in facts.queues
        if not queue.missing
    ]
    print_rows(COLUMNS, rows, empty="none of the queues is there")
    allowed = sum(each.answer == "allowed" for each in facts.tries)
    workers = "a worker" if facts.workers is None else f"{facts.workers} workers"
    out().print(
        f"\n{facts.role}: {allowed} of {len(facts.tries)} permissions. While nothing happens, {workers} would cost "
        f"${report.idle_dollars_a_month:.2f} a month: {report.idle_requests_a_month:,} requests.\n",
        style="dim",
    )
