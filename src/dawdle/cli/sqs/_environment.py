"""The variables that point dawdle at queues, as a shell takes them. Reads none."""

import shlex
from collections.abc import Mapping

from dawdle.cli.sqs._aws import Place

__all__ = ["exports", "variables"]


def variables(*, queue: str, dead_letters: str, delayed: str | None, place: Place) -> dict[str, str]:
    """Return the variables for the queues with these URLs. `place`: what was given for them, beside their URLs."""
    named = {
        "DAWDLE_BACKEND": "sqs",
        "DAWDLE_SQS_QUEUE_URL": queue,
        "DAWDLE_SQS_DEAD_LETTER_URL": dead_letters,
        "DAWDLE_SQS_DELAY_QUEUE_URL": delayed,
    }
    # A queue of AWS says in its URL where it is; of an endpoint of one's own it must be said.
    if place.endpoint is not None:
        named |= {"DAWDLE_SQS_ENDPOINT_URL": place.endpoint, "DAWDLE_SQS_REGION": place.region}
    return {name: value for name, value in named.items() if value is not None}


def exports(named: Mapping[str, str]) -> str:
    """Return lines that can be pasted into a shell, or evaluated by it."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in named.items())
