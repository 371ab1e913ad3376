"""Imports the app of a name, and says what is there instead if it is none. Enters none."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from dawdle import Dawdle
from dawdle.cli._project import find_project, project_file
from dawdle.cli._running import CommandError

__all__ = ["attribute_of", "is_module", "load_app"]


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
    here = {key: value for key, value in vars(import_module(module_name)).items() if isinstance(value, Dawdle)}
    if not attribute:
        return _only(here, module_name)
    found = attribute_of(name)
    if found is None:
        raise CommandError(f"{module_name} has no {attribute!r}; it has {_listed(here, module_name)}")
    if callable(found) and not isinstance(found, (Dawdle, type)):
        made: object = found()
        found = made if isinstance(made, Dawdle) else found
    if not isinstance(found, Dawdle):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise CommandError(f"{name} is a {kind}, and no dawdle.Dawdle; {module_name} has {_listed(here, module_name)}")
    return found


def attribute_of(name: str) -> object | None:
    """Return what `module:attribute` names, None if there is no such thing. The module is imported."""
    module, _, attribute = name.partition(":")
    _extend_path()
    found: object = import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part, None)
    return found


def is_module(name: str) -> bool:
    """Whether a word names a module of the user's: one that stands in the project."""
    top = name.partition(".")[0]
    return any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for folder in _folders())


def _only(apps: dict[str, Dawdle], module: str) -> Dawdle:
    if len(apps) > 1:
        raise CommandError(f"{module} has {_listed(apps, module)}: name one of them")
    app = next(iter(apps.values()), None) or Dawdle()
    described = app.describe()
    if not (apps or described.handlers or described.functions):
        project = find_project()
        meant = f"; {project.file.name} names {project.app}" if project is not None and project.app else ""
        raise CommandError(
            f"{module} has no app, and registers no handler: name the module that has them, or the app as "
            f"module:attribute{meant}"
        )
    return app


def _listed(apps: dict[str, Dawdle], module: str) -> str:
    named = ", ".join(f"{module}:{key}" for key in apps)
    return f"{'these apps' if len(apps) > 1 else 'this app'}: {named}" if apps else "no app of dawdle"


def _require_module(name: str) -> None:
    """Raise `CommandError` if there is no such module. A failing import inside it is another thing."""
    if os.sep in name or name.endswith(".py"):
        meant = ".".join(Path(name).with_suffix("").parts)
        raise CommandError(f"{name} is a file: name its module, {meant}")
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        known = ".".join(parts[:length])
        try:
            spec = find_spec(known)
        except ModuleNotFoundError:  # what is before the last dot is no package
            package, _, rest = known.rpartition(".")
            raise CommandError(f"{package} is a module, and no package: did you mean {package}:{rest}?") from None
        if spec is None:
            project = find_project()
            told = f" ({project.file} names it)" if project is not None and project.app == name else ""
            raise CommandError(
                f"there is no module {known!r} here{told}: start dawdle in the directory of your project ({Path.cwd()} "
                f"is the current one), and in the environment in which it is installed ({sys.prefix})"
            )


def _extend_path() -> None:
    """Let the user's modules be imported, as `python -m` does."""
    sys.path[:0] = [str(each) for each in _folders() if str(each) not in sys.path]


def _folders() -> list[Path]:
    file = project_file()
    every = [Path.cwd(), *([file.parent, file.parent / "src"] if file is not None else [])]
    return [each for each in dict.fromkeys(every) if each.is_dir()]
