"""Queues as `create` makes them, on a server of a test, and what a command that mends does there."""

import asyncio
import itertools
import json
import shlex
from typing import NamedTuple

from dawdle.backends.sqs import SQS
from dawdle.cli.sqs._admin import apply, find_queues
from dawdle.cli.sqs._aws import AwsClient
from dawdle.cli.sqs._create import create
from dawdle.cli.sqs._difference import difference
from dawdle.cli.sqs._doctor.ask import ask, ask_sqs
from dawdle.cli.sqs._doctor.rules import findings
from dawdle.cli.sqs._plan import make_plan

NUMBERS = itertools.count(1)
REGION = "us-east-1"


class Made(NamedTuple):
    """The queues of one app, by what they hold."""

    client: AwsClient
    name: str
    events: str
    dead: str
    delayed: str | None

    async def set(self, url, **attributes):
        written = {name: value if isinstance(value, str) else json.dumps(value) for name, value in attributes.items()}
        await self.client.call("set_queue_attributes", url, QueueUrl=url, Attributes=written)

    async def attributes(self, url):
        answer = await self.client.call("get_queue_attributes", url, QueueUrl=url, AttributeNames=["All"])
        return answer["Attributes"]

    async def arn(self, url):
        return (await self.attributes(url))["QueueArn"]

    async def create(self, name, **attributes):
        made = await self.client.call("create_queue", name, QueueName=name, Attributes=attributes)
        return made["QueueUrl"]

    async def delete(self, url):
        await self.client.call("delete_queue", url, QueueUrl=url)

    async def send(self, url, body="x", **options):
        await self.client.call("send_message", url, QueueUrl=url, MessageBody=body, **options)

    def queue(self, **options):
        return SQS(self.events, region=REGION, delay_queue_url=self.delayed, **options)

    async def findings(self, *, role="worker", workers=None, **options):
        """What the doctor says of what SQS says."""
        return findings(await ask_sqs(self.client, self.queue(**options), role=role, workers=workers))

    async def all_findings(self, **options):
        """The same by a client of its own, as the command asks."""
        return findings(await ask(self.queue(), **options))


async def make(client, *, fifo=False, delayed=False, kms_key=None):
    """Make queues as `dawdle sqs create` does, under a name of their own."""
    name = f"orders-{next(NUMBERS)}"
    plan = make_plan(
        f"{name}.fifo" if fifo else name, delayed=f"{name}-delayed" if delayed or fifo else None, kms_key=kms_key
    )
    found = await find_queues(client, plan)
    queues = await apply(client, plan, found, difference(plan, found))
    second = None if plan.delayed is None else queues[plan.delayed.name].url
    return Made(
        client,
        plan.events.name,
        queues[plan.events.name].url,
        queues[plan.dead_letters.name].url,
        second,
    )


async def paste(client, command):
    """Do what a command of a finding does, as a shell and its program would."""
    words = shlex.split(command, comments=True)
    if words[:3] == ["dawdle", "sqs", "create"]:
        arguments = [*words[3:], "--yes"]
        await asyncio.to_thread(create.main, arguments, prog_name="create", standalone_mode=False)
        return
    assert words[:3] == ["aws", "sqs", "set-queue-attributes"], command
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert set(options) == {"--queue-url", "--attributes", "--region", "--endpoint-url"}
    attributes = json.loads(options["--attributes"])
    await client.call("set_queue_attributes", "", QueueUrl=options["--queue-url"], Attributes=attributes)
