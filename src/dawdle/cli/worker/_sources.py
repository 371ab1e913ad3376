"""Watches the code of an app for changes, for `--reload`."""

import os
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Final

import watchfiles

__all__ = ["changes", "elsewhere"]

STEP_MILLISECONDS: Final = 20
"""Milliseconds in which nothing more changes, after which a change is told: an editor may write several files."""


def elsewhere(sources: Iterable[str]) -> set[str]:
    """Return the files and folders that are not in the current directory."""
    here = Path.cwd()
    return {each for each in sources if not Path(each).is_relative_to(here)}


async def changes(*paths: str) -> AsyncGenerator[list[str]]:
    """Yield the Python files that have changed, at each change, in some files and folders."""
    watching = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType] - its types name trio, which is not here
        *paths, watch_filter=watchfiles.PythonFilter(), step=STEP_MILLISECONDS
    )
    async for found in watching:
        yield sorted({os.path.relpath(path) for _, path in found})  # noqa: ASYNC240 - asks no disk
