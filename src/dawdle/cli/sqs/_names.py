"""The name of a queue as an option or an argument takes it: what `type=` is."""

import click

from dawdle.cli.sqs._plan import NAME_RULE, is_name

__all__ = ["queue_name"]


def queue_name(text: str) -> str:
    """Return the name, or fail with what SQS takes."""
    if not is_name(text):
        raise click.BadParameter(f"{text!r} is no name of a queue: {NAME_RULE}")
    return text
