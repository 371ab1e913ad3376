"""Which files and folders the code of an app is in, for `--reload`. Runs in the process that loads it."""

import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import dawdle

__all__ = ["loaded_sources", "sources_of_error"]

LIBRARIES: Final = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib")),
    os.path.dirname(dawdle.__file__),  # noqa: PTH120 - text, as the others
)


def loaded_sources() -> Iterator[str]:
    """Yield the files and folders of the modules that are loaded and are no libraries."""
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        file: str | None = getattr(module, "__file__", None)
        if file is not None:
            path = Path(os.path.abspath(file))  # noqa: PTH100 - takes no link for what it links to
            found = [path.parent if path.name == "__init__.py" else path]
        else:  # a package without __init__.py; a built-in module has no path
            found = [Path(each) for each in getattr(module, "__path__", ())]
        yield from (str(each) for each in found if each.exists() and not _is_library(each))


def sources_of_error(error: BaseException) -> Iterator[str]:
    """Yield the files in which an error came about. A module that fails is not loaded."""
    files = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename is not None:
        files.append(error.filename)
    yield from (each for each in files if os.path.isfile(each) and not _is_library(Path(each)))  # noqa: PTH113 - text


def _is_library(path: Path) -> bool:
    is_installed = {"site-packages", "dist-packages"}.intersection(path.parts)
    return bool(is_installed) or any(path.is_relative_to(folder) for folder in LIBRARIES)
