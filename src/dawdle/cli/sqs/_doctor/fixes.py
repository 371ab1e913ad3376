"""Commands that mend, as one pastes them. Runs none."""

import json
import shlex
from collections.abc import Mapping

from dawdle.cli.sqs._doctor.facts import Facts, QueueFacts
from dawdle.cli.sqs._plan import make_plan

__all__ = ["aws", "dawdle_create", "dead_name", "set_attributes"]


def aws(facts: Facts, command: str, **options: str) -> str:
    """Return a command of the AWS CLI: `aws(facts, "sqs purge-queue", queue_url=…)`."""
    written = [f"--{name.replace('_', '-')} {shlex.quote(value)}" for name, value in options.items()]
    return " ".join(part for part in (f"aws {command}", *written, facts.options) if part)


def set_attributes(facts: Facts, queue: QueueFacts, attributes: Mapping[str, str]) -> str:
    """Return the command that sets attributes of a queue."""
    return aws(facts, "sqs set-queue-attributes", queue_url=queue.url, attributes=json.dumps(dict(attributes)))


def dawdle_create(facts: Facts, *options: str) -> str:
    """Return the command that makes what is missing of the events' queue."""
    return " ".join(["dawdle sqs create", shlex.quote(facts.events.name), *options, facts.options]).rstrip()


def dead_name(name: str) -> str:
    """Return the usual name of a queue's dead-letter queue."""
    return make_plan(name).dead_letters.name
