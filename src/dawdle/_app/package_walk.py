"""Finds and imports the modules below packages, for `discover`, which loads this module at its first call."""

import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from dawdle.errors import ConfigurationError, shown

__all__ = ["import_packages"]

_PATH: Final = re.compile(r"[/\\]|\.py$")


def import_packages(packages: Sequence[str]) -> list[str]:
    """Return the names of all modules that are imported, in that order."""
    if not packages:
        raise ConfigurationError('discover() needs the name of a package, such as dawdle.discover("shop")')
    found: dict[str, None] = {}
    # All names are checked before the first import: a typing error must not leave half of the handlers registered.
    for name in packages:
        _require_name(name)
    for name in packages:
        _import(name, found)
    return list(found)


def _require_name(name: object) -> None:
    """Raise `ConfigurationError` for an invalid module name; for a path it says what to write."""
    if isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) and not _PATH.search(name):
        return
    wanted = f"discover({shown(name)}): it takes the name of a module or a package, with dots"
    if isinstance(name, str) and _PATH.search(name):
        parts = re.split(r"[/\\]+", name.removesuffix(".py"))
        instead = ".".join(part for part in parts if part not in {"", ".", "..", "__init__"})
        if instead:
            raise ConfigurationError(f'{wanted}, not a path; write dawdle.discover("{instead}")')
    raise ConfigurationError(f'{wanted}, such as dawdle.discover("shop.events")')


def _import(name: str, found: dict[str, None], above: frozenset[Path] = frozenset()) -> None:
    """Import a module and all modules below it. `above`: the folders around it, for links that lead back to one."""
    if name in found:
        return
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        # Only a missing module of this name is a mistake of the call. Another one is missing inside of the module.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ConfigurationError(
            f"discover({name!r}): there is no module {error.name!r} on the path, which begins with {_path_begins()}: "
            f"start the program in the folder that holds it, or install it"
        ) from error
    found[name] = None
    # A link may lead back to a folder above. Its modules would be imported without end, under ever longer names.
    paths = [path for path in map(Path, getattr(module, "__path__", ())) if path.resolve() not in above]
    within = above.union(path.resolve() for path in paths)
    modules = {below.name for below in pkgutil.iter_modules(map(str, paths))}
    for below in sorted(modules.union(_plain_folders(paths, within))):
        if below != "__main__":
            _import(f"{name}.{below}", found, within)


def _path_begins() -> str:
    """Return the first folder in which Python looks for modules."""
    return shown(sys.path[0] if sys.path and sys.path[0] else str(Path.cwd()))


def _plain_folders(paths: Iterable[Path], above: frozenset[Path]) -> Iterator[str]:
    """Yield the folders without an `__init__.py` that hold a module at any depth; `pkgutil` does not find those."""
    for path in paths:
        for folder in _folders(path):
            if _holds_modules(folder, above):
                yield folder.name


def _holds_modules(folder: Path, above: frozenset[Path]) -> bool:
    here = folder.resolve()
    if here in above:
        return False
    if any(True for _ in pkgutil.iter_modules([str(folder)])):
        return True
    return any(_holds_modules(each, above | {here}) for each in _folders(folder))


def _folders(path: Path) -> list[Path]:
    """Return the folders in a folder that may be packages; none for a zip file, and for a folder that is unreadable."""
    try:
        found = sorted(path.iterdir())
    except OSError:
        return []
    return [each for each in found if each.name.isidentifier() and each.name != "__pycache__" and each.is_dir()]
