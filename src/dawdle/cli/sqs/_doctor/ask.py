"""Gathers facts about the queues of one app. Changes nothing, and judges nothing."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from dawdle.backends.sqs import SQS
from dawdle.cli._findings import Finding
from dawdle.cli.sqs._admin import read_attributes
from dawdle.cli.sqs._aws import AwsClient, AwsError, Place, open_client
from dawdle.cli.sqs._doctor.access_rules import permissions
from dawdle.cli.sqs._doctor.facts import Facts, LambdaMapping, QueueFacts, Try
from dawdle.cli.sqs._doctor.probes import try_actions
from dawdle.cli.sqs._doctor.queue_rules import missing
from dawdle.cli.sqs._emit.iam import ACTIONS, Role
from dawdle.cli.sqs._plan import Purpose

__all__ = ["ask", "ask_sqs", "permission_findings", "url_of"]

T = TypeVar("T")

ENABLED: Final = frozenset({"Creating", "Enabled", "Enabling", "Updating"})


async def ask(queue: SQS, *, role: Role = "worker", workers: int | None = None) -> Facts:
    """Return what there is to know about a queue, its dead-letter queue and its delay queue. Raises `AwsError`."""
    place = _place(queue)
    async with open_client("sqs", place) as client:
        facts = await ask_sqs(client, queue, role=role, workers=workers)
        if not _is_aws(client.endpoint) and place.endpoint is not None:
            return facts  # a server of one's own: there is no Lambda and no CloudWatch beside it
    return await _ask_others(facts, Place(client.region, None))


async def ask_sqs(client: AwsClient, queue: SQS, *, role: Role = "worker", workers: int | None = None) -> Facts:
    """Return what SQS itself knows."""
    facts = await _queues(client, queue, role)
    return msgspec.structs.replace(facts, tries=await _try_all(client, facts), workers=workers)


async def permission_findings(queue: SQS, role: Role = "worker") -> list[Finding]:
    """Return what the credentials lack for a role, queue by queue, and which queues are not there.

    Nothing is stored, hidden or deleted; `probes` says how. Raises `AwsError` where SQS does not answer.
    """
    async with open_client("sqs", _place(queue)) as client:
        facts = await ask_sqs(client, queue, role=role)
    return [*missing(facts), *permissions(facts)]


def url_of(queue: SQS) -> str:
    """Return the URL of a queue."""
    return str(queue.description["aws.sqs.queue.url"])


def _place(queue: SQS) -> Place:
    arguments = queue.client_arguments()
    return Place(arguments["region_name"], arguments["endpoint_url"])


def _is_aws(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return "amazonaws" in host or host.endswith(".aws")


async def _queues(client: AwsClient, queue: SQS, role: Role) -> Facts:
    url = url_of(queue)
    letters_set = None if queue.dead_letters is None else url_of(queue.dead_letters)
    events = await _queue(client, "events", url)
    letters = letters_set or _letters_url(events)
    options = f"--region {shlex.quote(client.region)}"
    if not _is_aws(client.endpoint):
        options += f" --endpoint-url {shlex.quote(client.endpoint)}"
    return Facts(
        events=events,
        dead_letters=None if letters is None or letters == url else await _queue(client, "dead letters", letters),
        delayed=None if queue.delayed is None else await _queue(client, "delayed events", url_of(queue.delayed)),
        letters_set=letters_set,
        role=role,
        wait=int(queue.limits.max_wait),
        options=options,
    )


def _letters_url(events: QueueFacts) -> str | None:
    """Return the URL of the dead-letter queue in the redrive policy: on the same server, as dawdle finds it."""
    if events.redrive_target is None:
        return None
    account, name = events.redrive_target.split(":")[4:6]
    parts = urlsplit(events.url)
    return f"{parts.scheme}://{parts.netloc}/{account}/{name}"


async def _queue(client: AwsClient, purpose: Purpose, url: str) -> QueueFacts:
    facts = QueueFacts(purpose=purpose, url=url)
    try:
        facts = msgspec.structs.replace(facts, attributes=await read_attributes(client, url))
    except AwsError as error:
        if error.is_missing:
            return msgspec.structs.replace(facts, missing=True)
        if not error.is_denied:
            raise
    return msgspec.structs.replace(facts, sources=await _sources(client, url))


async def _sources(client: AwsClient, url: str) -> list[str] | None:
    try:
        answer = await client.call("list_dead_letter_source_queues", url, QueueUrl=url, MaxResults=100)
    except AwsError:  # a permission that a worker does not have, or an emulator without it
        return None
    return [str(each).rpartition("/")[2] for each in answer.get("queueUrls", ())]


async def _try_all(client: AwsClient, facts: Facts) -> list[Try]:
    tries: list[Try] = []
    for queue in facts.queues:
        tries += await try_actions(client, queue, ACTIONS[facts.role].get(queue.purpose, ()))
    return tries


async def _ask_others(facts: Facts, place: Place) -> Facts:
    """Ask Lambda, CloudWatch and STS, side by side. What is denied, or does not answer, is told as unasked."""
    arn = facts.events.arn
    if arn is None:
        return facts
    unasked: dict[str, str] = {}

    async def asked(service: str, what: str, question: Callable[[AwsClient], Awaitable[T]]) -> T | None:
        try:
            async with open_client(service, place, attempts=1) as client:
                if not _is_aws(client.endpoint) or _is_real(arn):
                    return await question(client)
        except AwsError as error:
            unasked[what] = str(error)
        return None

    name = facts.events.name
    mappings, oldest, empty, principal = await asyncio.gather(
        asked("lambda", "which Lambda functions receive", lambda client: _mappings(client, arn)),
        asked("cloudwatch", "the age of the oldest event", lambda client: _oldest(client, name)),
        asked("cloudwatch", "how many receives bring nothing", lambda client: _empty_receives(client, name)),
        asked("sts", "whose the credentials are", _principal),
    )
    events = msgspec.structs.replace(facts.events, mappings=mappings, oldest=oldest, empty_receives=empty)
    return msgspec.structs.replace(facts, events=events, principal=principal, unasked=unasked)


def _is_real(arn: str) -> bool:
    """Whether a queue is AWS's own: emulators give their queues the account of all zeros."""
    return arn.split(":")[4] != "000000000000"


async def _mappings(client: AwsClient, arn: str) -> list[LambdaMapping]:
    answer = await client.call("list_event_source_mappings", arn, EventSourceArn=arn)
    return [
        LambdaMapping(
            function=str(each.get("FunctionArn", "")).rpartition(":function:")[2],
            uuid=str(each.get("UUID", "")),
            enabled=each.get("State") in ENABLED,
        )
        for each in answer.get("EventSourceMappings", ())
    ]


async def _oldest(client: AwsClient, name: str) -> float | None:
    """Return the age of the oldest message: SQS tells it to CloudWatch alone, some minutes late."""
    return await _metric(client, name, "ApproximateAgeOfOldestMessage", "Maximum", timedelta(minutes=15))


async def _empty_receives(client: AwsClient, name: str) -> float | None:
    return await _metric(client, name, "NumberOfEmptyReceives", "Sum", timedelta(hours=1))


async def _metric(client: AwsClient, name: str, metric: str, statistic: str, span: timedelta) -> float | None:
    end = datetime.now(UTC)
    answer = await client.call(
        "get_metric_statistics",
        name,
        Namespace="AWS/SQS",
        MetricName=metric,
        Dimensions=[{"Name": "QueueName", "Value": name}],
        StartTime=end - span,
        EndTime=end,
        Period=int(span.total_seconds()),
        Statistics=[statistic],
    )
    points: list[Mapping[str, float]] = answer.get("Datapoints", [])
    return max((float(point[statistic]) for point in points), default=None)


async def _principal(client: AwsClient) -> str:
    return str((await client.call("get_caller_identity", "these credentials"))["Arn"])
