"""`dawdle sqs create`: the command. Shows what it would change, asks, and changes it."""

import os
from collections.abc import Callable, Mapping, Sequence

import click
from rich_click import RichCommand

from dawdle.cli._output import Column, confirm, err, json_option, print_json, print_rows
from dawdle.cli._running import run_async
from dawdle.cli._values import duration
from dawdle.cli.sqs._admin import apply, find_queue, find_queues
from dawdle.cli.sqs._aws import Place, configured_region, open_client
from dawdle.cli.sqs._difference import Change, Found, dead_letter_name, difference
from dawdle.cli.sqs._emit import FORMATS, Format, emit
from dawdle.cli.sqs._emit.iam import ROLES, Arns, Role
from dawdle.cli.sqs._environment import exports, variables
from dawdle.cli.sqs._names import queue_name
from dawdle.cli.sqs._plan import MAX_RETENTION_SECONDS, MIN_RETENTION_SECONDS, Plan, make_plan

__all__ = ["create"]


def _retention(text: str) -> float:
    seconds = duration(text)
    if not MIN_RETENTION_SECONDS <= seconds <= MAX_RETENTION_SECONDS:
        raise click.BadParameter("SQS keeps messages for 60 seconds to 14 days")
    return seconds


COLUMNS = (
    Column("queue"),
    Column("attribute"),
    Column("now", wraps=True),
    Column("wanted", wraps=True),
)


@click.command(cls=RichCommand)
@click.argument("name", type=queue_name)
@click.option("--fifo", is_flag=True, help="A FIFO queue: keeps the order of each group. Adds .fifo to the name.")
@click.option("--dead-letters", type=queue_name, metavar="NAME", help="Its dead-letter queue. Default: NAME-dead.")
@click.option("--delay-queue", is_flag=True, help="A second queue, NAME-delayed, for events and retries that wait.")
@click.option(
    "--retention",
    type=_retention,
    metavar="DURATION",
    default="14d",
    help="How long SQS keeps an event. Default: 14d, the most.",
)
@click.option(
    "--max-receives", type=click.IntRange(1, 1000), metavar="N", help="Of the redrive policy. Default: 50; FIFO: 1000."
)
@click.option("--kms-key", metavar="KEY", help="Encrypt by this KMS key. Default: by SQS's own.")
@click.option("--region", help="Default: that of AWS's settings.")
@click.option("--endpoint-url", metavar="URL", help="Another server than AWS.")
@click.option(
    "--emit",
    "as_format",
    type=click.Choice(FORMATS),
    metavar="FORMAT",
    help=f"Print it for a tool instead: {', '.join(FORMATS)}.",
)
@click.option("--role", type=click.Choice(ROLES), help="With --emit iam: the policy of this role alone.")
@click.option("--account", metavar="ID", help="With --emit iam: the account of the queues. Default: any.")
@click.option("--deployment", metavar="NAME", help="With --emit keda: what it scales. Default: NAME-worker.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@json_option
def create(
    name: str,
    *,
    fifo: bool,
    dead_letters: str | None,
    delay_queue: bool,
    retention: float,
    max_receives: int | None,
    kms_key: str | None,
    region: str | None,
    endpoint_url: str | None,
    as_format: Format | None,
    role: Role | None,
    account: str | None,
    deployment: str | None,
    yes: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a queue, its dead-letter queue and, if wanted, its delay queue, or bring them up to date.

    Shows first what it would change. What is right already stays as it is. At the end it prints the variables that
    point dawdle at the queues: `eval "$(dawdle sqs create orders --yes)"`.
    """
    if fifo and not name.endswith(".fifo"):
        name = f"{name}.fifo"
    if dead_letters is not None and dead_letters.endswith(".fifo") != name.endswith(".fifo"):
        raise click.UsageError("The dead-letter queue of a FIFO queue is a FIFO queue, and of no other: see .fifo")
    for wanted, option, value in (
        ("iam", "--role", role),
        ("iam", "--account", account),
        ("keda", "--deployment", deployment),
    ):
        if value is not None and as_format != wanted:
            raise click.UsageError(f"{option} is of use with --emit {wanted} alone.")
    place = Place(
        region or os.environ.get("DAWDLE_SQS_REGION") or None,
        endpoint_url or os.environ.get("DAWDLE_SQS_ENDPOINT_URL") or None,
    )

    def plan_with(letters: str | None) -> Plan:
        return make_plan(
            name,
            dead_letters=dead_letters or letters,
            delayed=f"{name.removesuffix('.fifo')}-delayed" if delay_queue else None,
            retention=int(retention),
            max_receives=max_receives,
            kms_key=kms_key,
        )

    if as_format is not None:
        _print_for(as_format, plan_with(None), place.region, account=account, role=role, deployment=deployment)
        return
    plan, found = run_async(_look(name, plan_with, place))
    changes = difference(plan, found, given=() if max_receives is None else ("maxReceiveCount",))
    if dry_run:
        _show(changes, as_json=as_json)
        return
    # The question is asked outside of an event loop, which would keep ^C from ending it.
    _ask(plan, found, changes, yes=yes)
    made, region = run_async(_change(plan, found, changes, place))
    _tell_variables(plan, made, Place(region, place.endpoint), as_json=as_json)


async def _look(name: str, plan_with: Callable[[str | None], Plan], place: Place) -> tuple[Plan, Mapping[str, Found]]:
    """Return the plan and what is there of it. A dead-letter queue that the queue has already stays its own."""
    async with open_client("sqs", place) as client:
        plan = plan_with(dead_letter_name(await find_queue(client, name)))
        return plan, await find_queues(client, plan)


async def _change(
    plan: Plan, found: Mapping[str, Found], changes: Sequence[Change], place: Place
) -> tuple[Mapping[str, Found], str]:
    """Make the changes, and return all queues of the plan, and their region."""
    async with open_client("sqs", place) as client:
        return await apply(client, plan, found, changes), client.region


def _print_for(
    as_format: Format, plan: Plan, region: str | None, *, account: str | None, role: Role | None, deployment: str | None
) -> None:
    region = region or configured_region()
    if as_format == "keda" and region is None:
        raise click.UsageError("KEDA wants the region of the queue: say --region, or set AWS_DEFAULT_REGION")
    if as_format == "iam" and None in {region, account}:
        err().print("the policies name the queues of any region or account: say --region and --account", style="dim")
    arns = Arns(region or "*", account or "*")
    click.echo(emit(plan, as_format, arns=arns, role=role, deployment=deployment))


def _show(changes: Sequence[Change], *, as_json: bool) -> None:
    if as_json:
        print_json(changes)
    else:
        print_rows(COLUMNS, _rows(changes), empty="nothing to change")


def _rows(changes: Sequence[Change]) -> list[list[str]]:
    return [[each.queue, each.attribute, each.now or "-", each.wanted] for each in changes]


def _ask(plan: Plan, found: Mapping[str, Found], changes: Sequence[Change], *, yes: bool) -> None:
    if not changes:
        err().print("nothing to change", style="dim")
        return
    # Beside the question: what is printed on standard output may be evaluated by a shell.
    print_rows(COLUMNS, _rows(changes), empty="", to_stderr=True)
    new = [queue.name for queue in plan.queues if queue.name not in found]
    confirm(f"Make {' and '.join(new)}?" if new else "Change these attributes?", yes=yes)


def _tell_variables(plan: Plan, queues: Mapping[str, Found], place: Place, *, as_json: bool) -> None:
    named = variables(
        queue=queues[plan.events.name].url,
        dead_letters=queues[plan.dead_letters.name].url,
        delayed=None if plan.delayed is None else queues[plan.delayed.name].url,
        place=place,
    )
    if as_json:
        print_json(named)
    else:
        click.echo(exports(named))
