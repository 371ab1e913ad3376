"""Which app a command is about: found by its name, imported, and made sure to be one. Enters none.

the first argument `shop.main:app`, else --app, else `[tool.dawdle] app` in pyproject.toml, else none
"""

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import click
from rich_click import RichCommand

from dawdle import Dawdle
from dawdle.abc import Backend
from dawdle.backends.sqlite import SQLite
from dawdle.cli._loading import is_module, load_app
from dawdle.cli._output import err
from dawdle.cli._project import find_project
from dawdle.cli._running import CommandError

__all__ = ["AppCommand", "app_name_option", "load_app", "missing_file", "require_app_name", "require_file", "with_app"]

APP_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

MODULE_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class AppCommand(RichCommand):
    """A command whose first argument may name an app, `module:attribute`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn the app's name into an option, and parse as any command does."""
        at = self._first_argument(args)
        if at is not None and "--app" not in args and self.is_app(args[at]):
            args = [*args[:at], "--app", args[at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    def is_app(self, word: str) -> bool:
        """Whether the first argument names an app: by its form, or since nothing else can stand there.

        A module alone does where pyproject.toml names no other app: the word may also be the name of an event.
        """
        if APP_NAME.fullmatch(word) or not any(isinstance(param, click.Argument) for param in self.params):
            return True
        project = find_project()
        named = None if project is None else project.app
        return MODULE_NAME.fullmatch(word) is not None and named in {None, word} and is_module(word)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the app among the arguments, where it usually stands."""
        options, *rest = super().collect_usage_pieces(ctx)
        return [options, "[APP]", *rest]

    def _first_argument(self, args: Sequence[str]) -> int | None:
        """Return where the first argument stands that is no option and no option's value."""
        takes = {
            name: param.nargs
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag and not param.count
            for name in param.opts
        }
        at = 0
        while at < len(args) and args[at] != "--":
            if not args[at].startswith("-") or args[at] == "-":
                return at
            at += 1 + takes.get(args[at], 0)
        return None


def app_name_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `app_name`: what names the app, or None. For those that do not import it themselves."""

    @click.option("--app", "app_name", metavar="MODULE:ATTRIBUTE", help="The app, if it is not the first argument.")
    @functools.wraps(function)
    def command(*args: object, app_name: str | None, **options: object) -> object:
        project = find_project() if app_name is None else None
        return function(*args, app_name=app_name if project is None else project.app, **options)

    return command


def require_app_name(name: str | None) -> str:
    """Return the name of the app. Raises `click.UsageError`, which says how to name one, if there is none."""
    if name is None:
        raise click.UsageError(
            "Name the app: as the first argument, such as shop.main:app, or as --app, or once and for all in "
            'pyproject.toml:\n\n[tool.dawdle]\napp = "shop.main:app"'
        )
    return name


def with_app(
    *, required: bool, queues: Literal["unused", "made", "there"] = "unused"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `app`, which is not entered.

    Without a name it is an error if an app is `required`; if not, it is an app without handlers whose queue is the one
    that the `DAWDLE_*` variables name. `queues`: what the command does with them. It may leave them alone, may make a
    file that is not there yet, or looks for what is in them: then a file that is not there is an error.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @app_name_option
        @functools.wraps(function)
        def command(*args: object, app_name: str | None, **options: object) -> object:
            named = require_app_name(app_name) if required else app_name
            app = Dawdle(start_listener=False) if named is None else load_app(named)
            if queues != "unused":
                _require_shared(app)
            for backend in app.backends.values() if queues != "unused" else ():
                if queues == "there":
                    require_file(backend)
                elif (path := missing_file(backend)) is not None:
                    err().print(f"there is no file {path} yet: making it", markup=False, soft_wrap=True)
            return function(*args, app=app, **options)

        return command

    return decorate


def missing_file(backend: Backend) -> str | None:
    """Return the path of a SQLite file that is not there yet; None for one that is, and for other queues."""
    return backend.path if isinstance(backend, SQLite) and not Path(backend.path).exists() else None


def require_file(backend: Backend) -> None:
    """Raise `CommandError` for a SQLite file that is not there: to open it would make one, with nothing in it."""
    path = missing_file(backend)
    if path is not None:
        raise CommandError(f"there is no file {path}: is the path right? The first signal or worker makes it")


def _require_shared(app: Dawdle) -> None:
    """Raise `CommandError` for an app whose queues are in memory: no other process has them."""
    if not any(backend.limits.shared for backend in app.backends.values()):
        raise CommandError(
            "the queue of this app is in memory, where only the process that handles its events has it: set "
            "DAWDLE_SQLITE_PATH, DAWDLE_SQS_QUEUE_URL or DAWDLE_BACKEND as your app has them, or name the app"
        )
