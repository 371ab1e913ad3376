"""What `[tool.dawdle]` in the nearest pyproject.toml says. Imports no app."""

import tomllib
from pathlib import Path
from typing import Final, NamedTuple, cast

from dawdle.cli._running import CommandError

__all__ = ["Project", "find_project", "project_file"]

KEYS: Final = frozenset({"app"})


class Project(NamedTuple):
    """The nearest pyproject.toml, from the current directory upwards."""

    file: Path
    app: str | None
    """The app that it names."""


def find_project() -> Project | None:
    """Return it, if there is one. Raises `CommandError` for one that cannot be read, or says what is not known."""
    file = project_file()
    return None if file is None else Project(file, _app_of(file))


def project_file() -> Path | None:
    """Return the nearest pyproject.toml without reading it."""
    here = Path.cwd()
    return next((path for each in (here, *here.parents) if (path := each / "pyproject.toml").is_file()), None)


def _app_of(file: Path) -> str | None:
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{file} is no valid TOML: {error}") from error
    ours = cast("dict[str, dict[str, dict[str, object]]]", table).get("tool", {}).get("dawdle", {})
    if unknown := sorted(set(ours) - KEYS):
        raise CommandError(f"{file}: [tool.dawdle] has no {', '.join(unknown)}; it has app")
    app = ours.get("app")
    if app is not None and not isinstance(app, str):
        raise CommandError(f'{file}: [tool.dawdle] app is {app!r}, and must be a text such as "shop.main:app"')
    return app
