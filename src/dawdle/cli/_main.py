"""The group of all commands: what `dawdle --help` shows. Imports the room of a command when that is called."""

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Final

import click
from rich_click import RichGroup

import dawdle as library
from dawdle.cli._running import PipeClosedError, exit_code_of

__all__ = ["COMMANDS", "dawdle", "run"]

COMMANDS: Final = {
    # the name: the module that has it, and what it is called there; the help shows them in this order
    "worker": "dawdle.cli.worker._command:worker",
    "signal": "dawdle.cli.signal._command:signal",
    "handlers": "dawdle.cli.listing:handlers",
    "events": "dawdle.cli.listing:events",
    "check": "dawdle.cli.check._command:check",
    "top": "dawdle.cli.top._command:top",
    "dead": "dawdle.cli.dead:dead",
    "replay": "dawdle.cli.replay:replay",
    "schema": "dawdle.cli.schema._command:schema",
    "sqs": "dawdle.cli.sqs._command:sqs",
    "completion": "dawdle.cli.completion:completion",
}


class LazyGroup(RichGroup):
    """Finds a command in its module, which it imports for that."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands; imports none of them."""
        del ctx
        return list(COMMANDS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one may be meant."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = get_close_matches(args[0], COMMANDS, 1)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: object = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that is named."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise PipeClosedError from error


@click.group(
    "dawdle",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed or found something, 2 a mistake in the command line, 130 ended by ^C.",
)
@click.version_option(library.__version__, message="dawdle %(version)s")
def dawdle() -> None:
    """Events for asyncio: run a worker, signal events, look at queues, repair what failed.

    An app is named as uvicorn names one, module:attribute. It is the first argument of a command, or --app, or
    `app = "shop.main:app"` under `[tool.dawdle]` in pyproject.toml.
    """


def run() -> None:
    """Run the command line of this process, and end the process."""
    sys.exit(exit_code_of(lambda: dawdle.main(prog_name="dawdle", standalone_mode=False)))
