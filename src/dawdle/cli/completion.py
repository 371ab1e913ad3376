"""`dawdle completion`: the script that completes commands and options in a shell."""

from typing import Final

import click
from click.shell_completion import get_completion_class

__all__ = ["completion"]

FILES: Final = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/config.fish"}


@click.command()
@click.argument("shell", type=click.Choice(list(FILES)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what completes commands and options with the tab key.

    bash: put `eval "$(dawdle completion bash)"` into ~/.bashrc. zsh: the same in ~/.zshrc. fish: put `dawdle completion
    fish | source` into ~/.config/fish/config.fish.
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "dawdle", "_DAWDLE_COMPLETE").source())
