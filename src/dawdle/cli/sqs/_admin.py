"""Makes queues what a plan says. What to change is decided in `_difference`."""

from collections.abc import Mapping, Sequence
from typing import cast

from dawdle.cli.sqs._aws import AwsClient, AwsError
from dawdle.cli.sqs._difference import Change, Found, redrive_policy
from dawdle.cli.sqs._plan import Plan

__all__ = ["apply", "find_queue", "find_queues", "read_attributes"]


async def find_queues(client: AwsClient, plan: Plan) -> dict[str, Found]:
    """Return those queues of a plan that are there, by name."""
    names = [queue.name for queue in plan.queues]
    found = [(name, await find_queue(client, name)) for name in names]
    return {name: queue for name, queue in found if queue is not None}


async def find_queue(client: AwsClient, name: str) -> Found | None:
    """Return a queue by its name; None: there is none."""
    try:
        url = str((await client.call("get_queue_url", name, QueueName=name))["QueueUrl"])
        return Found(url=url, attributes=await read_attributes(client, url))
    except AwsError as error:
        if error.is_missing:
            return None
        raise


async def read_attributes(client: AwsClient, url: str) -> Mapping[str, str]:
    """Return all attributes of a queue. Raises `AwsError`."""
    answer = await client.call("get_queue_attributes", url, QueueUrl=url, AttributeNames=["All"])
    return cast("dict[str, str]", answer.get("Attributes", {}))


async def apply(
    client: AwsClient, plan: Plan, found: Mapping[str, Found], changes: Sequence[Change]
) -> dict[str, Found]:
    """Make the changes, and return all queues of the plan, by name."""
    queues = dict(found)
    for queue in plan.queues:
        name = queue.name
        wanted = {each.attribute: each.wanted for each in changes if each.queue == name}
        if "RedrivePolicy" in wanted:  # in words until here; its dead-letter queue is there by now
            arn = queues[plan.dead_letters.name].attributes["QueueArn"]
            wanted["RedrivePolicy"] = redrive_policy(arn, plan.max_receives)
        if name not in queues:
            url = str((await client.call("create_queue", name, QueueName=name, Attributes=wanted))["QueueUrl"])
            queues[name] = Found(url=url, attributes=await read_attributes(client, url))
        elif wanted:
            url = queues[name].url
            await client.call("set_queue_attributes", name, QueueUrl=url, Attributes=wanted)
    return queues
