"""Watches the code of an app for changes, for `--reload`."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path

import watchfiles

__all__ = ["changes", "roots"]


def roots(sources: Iterable[str]) -> set[str]:
    """Return what to watch: the current directory, and the files and folders of the code that are not in it."""
    here = str(Path.cwd())
    return {here, *(each for each in sources if each != here and not each.startswith(f"{here}{os.sep}"))}


async def changes(paths: Iterable[str], stop: asyncio.Event) -> AsyncGenerator[list[str]]:
    """Yield the Python files that have changed, at each change, until `stop`."""
    existing = [path for path in sorted(paths) if os.path.exists(path)]  # noqa: PTH110, ASYNC240 - once, and quick
    watching = watchfiles.awatch(*existing, watch_filter=watchfiles.PythonFilter(), stop_event=stop, step=20)
    async for found in watching:
        yield sorted({os.path.relpath(path) for _, path in found})  # noqa: ASYNC240 - asks no disk
