"""The group `dawdle sqs`. Imports a command's module when it is called."""

from importlib import import_module
from typing import Final

import click
from rich_click import RichGroup

__all__ = ["sqs"]

COMMANDS: Final = {
    "create": "dawdle.cli.sqs._create",
    "doctor": "dawdle.cli.sqs._doctor.command",
    "serve": "dawdle.cli.sqs._serve",
}


class LazySqs(RichGroup):
    """Finds a command in its module, which it imports for that."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; imports none of them."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: object = getattr(import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)
        return command


@click.group(cls=LazySqs)
def sqs() -> None:
    """Queues on Amazon SQS: make them, look for mistakes in them, serve SQS for tests."""
