"""The page of every command and option, from the commands themselves. Write it: `python -m tests.docs.command_page`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from dawdle.cli._app import AppCommand
from dawdle.cli._main import dawdle

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command.md"

HEAD = """\
# The command

Every command of `dawdle`, as `--help` shows it; [](../guides/cli/index.md) says what it is for. `[APP]` is the app, as
`module:attribute`, and may also be given as `--app`. Each command has `--help`.
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *_lines(dawdle, ["dawdle"])]).rstrip() + "\n"


def _lines(group: click.Group, path: list[str]) -> Iterator[str]:
    with click.Context(group) as ctx:
        for name in group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            if command.hidden:
                continue
            if isinstance(command, click.Group):
                yield from _lines(command, [*path, name])
            else:
                yield from _command(command, " ".join([*path, name]))


def _command(command: click.Command, name: str) -> Iterator[str]:
    with click.Context(command, info_name=name) as ctx:
        usage = " ".join([name, *command.collect_usage_pieces(ctx)])
    yield f"## {name}\n"
    yield f"`{usage}`\n"
    yield from _paragraphs(inspect.cleandoc(command.help or ""))
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden and param.name != "help":
            if param.name == "app_name" and isinstance(command, AppCommand):
                continue
            names = ", ".join((*param.opts, *param.secondary_opts))
            value = "" if param.is_flag or param.count else f" {_metavar(param, command)}"
            yield f"`{names}{value}`\n: {' '.join((param.help or '').split())}\n"


def _metavar(param: click.Option, command: click.Command) -> str:
    with click.Context(command) as ctx:
        return param.make_metavar(ctx)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the help, with its examples, which follow a mark of click's, as code."""
    for paragraph in text.split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield f"```sh\n{paragraph[2:]}\n```\n"
        else:
            yield f"{paragraph}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
