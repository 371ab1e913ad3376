"""Which app a command is about: found by its name, imported, and made sure to be one. Enters none.

the first argument `shop.main:app`, else --app, else `[tool.dawdle] app` in pyproject.toml, else none
"""

import functools
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, cast

import click
from rich_click import RichCommand

from dawdle import Dawdle
from dawdle.abc import Backend
from dawdle.backends.sqlite import SQLite
from dawdle.cli._running import CommandError

__all__ = ["AppCommand", "app_name_option", "load_app", "require_app_name", "require_file", "with_app"]

APP_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


class AppCommand(RichCommand):
    """A command whose first argument may name an app, `module:attribute`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn the app's name into an option, and parse as any command does."""
        at = self._first_argument(args)
        if at is not None and (APP_NAME.fullmatch(args[at]) or self._takes_no_arguments()):
            args = [*args[:at], "--app", args[at], *args[at + 1 :]]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the app among the arguments, where it usually stands."""
        options, *rest = super().collect_usage_pieces(ctx)
        return [options, "[APP]", *rest]

    def _takes_no_arguments(self) -> bool:
        return not any(isinstance(param, click.Argument) for param in self.params)

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
        return function(*args, app_name=_name_of(app_name), **options)

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
            for backend in app.backends.values() if queues == "there" else ():
                require_file(backend)
            return function(*args, app=app, **options)

        return command

    return decorate


def load_app(name: str) -> Dawdle:
    """Import the app of a name: `module:attribute`, or `module` alone.

    A module's only app is meant if no attribute is named; if the module has none, `Dawdle()` with the handlers that it
    has registered. A function that returns an app is called. Modules are looked for in the current directory first,
    then in that of the nearest pyproject.toml and its `src`. Raises `CommandError`; what the module itself raises
    passes through.
    """
    module_name, _, attribute = name.partition(":")
    _extend_path()
    _require_module(module_name)
    module = import_module(module_name)
    here = {key: value for key, value in vars(module).items() if isinstance(value, Dawdle)}
    if not attribute:
        if len(here) > 1:
            raise CommandError(f"{module_name} has {_listed(here, module_name)}: name one of them")
        return next(iter(here.values()), None) or Dawdle()
    found: object = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise CommandError(f"{module_name} has no {attribute!r}; it has {_listed(here, module_name)}")
        found = getattr(found, part)
    if callable(found) and not isinstance(found, (Dawdle, type)):
        made: object = found()
        found = made if isinstance(made, Dawdle) else found
    if not isinstance(found, Dawdle):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise CommandError(f"{name} is a {kind}, and no dawdle.Dawdle; {module_name} has {_listed(here, module_name)}")
    return found


def require_file(backend: Backend) -> None:
    """Raise `CommandError` for a SQLite file that is not there: to open it would make one, with nothing in it."""
    if isinstance(backend, SQLite) and not Path(backend.path).exists():
        raise CommandError(f"there is no file {backend.path}: is the path right? The first signal or worker makes it")


def _require_shared(app: Dawdle) -> None:
    """Raise `CommandError` for an app whose queues are in memory: no other process has them."""
    if not any(queue.shared for queue in app.describe().queues):
        raise CommandError(
            "the queue of this app is in memory, where only the process that handles its events has it: set "
            "DAWDLE_SQLITE_PATH, DAWDLE_SQS_QUEUE_URL or DAWDLE_BACKEND as your app has them, or name the app"
        )


def _listed(apps: dict[str, Dawdle], module: str) -> str:
    named = ", ".join(f"{module}:{key}" for key in apps)
    return f"{'these apps' if len(apps) > 1 else 'this app'}: {named}" if apps else "no app of dawdle"


def _require_module(name: str) -> None:
    """Raise `CommandError` if there is no such module. A failing import inside it is another thing."""
    known = ""
    for part in name.split("."):
        known = f"{known}.{part}" if known else part
        if find_spec(known) is None:
            raise CommandError(
                f"there is no module {known!r} here: start dawdle in the directory of your project ({Path.cwd()} is "
                f"the current one), and in the environment in which it is installed ({sys.prefix})"
            )


def _extend_path() -> None:
    """Let the user's modules be imported, as `python -m` does."""
    project = _project_file()
    folders = [Path.cwd(), *([project.parent, project.parent / "src"] if project else [])]
    sys.path[:0] = [str(each) for each in dict.fromkeys(folders) if each.is_dir() and str(each) not in sys.path]


def _name_of(given: str | None) -> str | None:
    if given is not None:
        return given
    project = _project_file()
    if project is None:
        return None
    try:
        table = tomllib.loads(project.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{project} is no valid TOML: {error}") from error
    named: object = cast("dict[str, dict[str, dict[str, object]]]", table).get("tool", {}).get("dawdle", {}).get("app")
    if named is not None and not isinstance(named, str):
        raise CommandError(f'{project}: [tool.dawdle] app is {named!r}, and must be a text such as "shop.main:app"')
    return named


def _project_file() -> Path | None:
    """Return the nearest pyproject.toml, from the current directory upwards."""
    here = Path.cwd()
    return next((path for each in (here, *here.parents) if (path := each / "pyproject.toml").is_file()), None)
