"""Watches the code of an app for changes, for `--reload`."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Final

import watchfiles

STEP_MILLISECONDS: Final = 20
"""Milliseconds in which nothing more changes, after which a change is told: an editor may write several files."""

__all__ = ["changes"]


async def changes(sources: Iterable[str], stop: asyncio.Event) -> AsyncGenerator[list[str]]:
    """Yield the Python files that have changed, at each change, until `stop`.

    They are looked for below the current directory, and among files and folders of the code that are not in it.
    """
    here = str(Path.cwd())
    elsewhere = [each for each in sorted(sources) if each != here and not each.startswith(f"{here}{os.sep}")]
    watching = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType] - its types name trio, which is not here
        here, *elsewhere, watch_filter=watchfiles.PythonFilter(), stop_event=stop, step=STEP_MILLISECONDS
    )
    async for found in watching:
        yield sorted({os.path.relpath(path) for _, path in found})  # noqa: ASYNC240 - asks no disk
