"""Watches the code of an app for changes, for `--reload`."""

import os
from collections.abc import AsyncGenerator, Collection, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import watchfiles

__all__ = ["Watched", "changes", "to_watch"]

STEP_MILLISECONDS: Final = 20
"""Milliseconds in which nothing more changes, after which a change is told: an editor may write several files."""


class Watched(NamedTuple):
    """What is watched. Nothing is in it twice, so no change is seen twice."""

    folders: frozenset[str]
    """With all that is below them."""
    files: frozenset[str]
    """Those that are in none of the folders."""


def to_watch(sources: Iterable[str]) -> Watched:
    """Return what to watch, for the code in the current directory and for sources elsewhere."""
    paths = {Path.cwd(), *map(Path, sources)}
    folders = {each for each in paths if each.is_dir()}
    outer = {each for each in folders if not folders.intersection(each.parents)}
    files = {each for each in paths - folders if each.parent.is_dir() and not outer.intersection(each.parents)}
    return Watched(frozenset(map(str, outer)), frozenset(map(str, files)))


async def changes(paths: Collection[str], *, recursive: bool) -> AsyncGenerator[list[str]]:
    """Yield the Python files that have changed, at each change, in folders; or, if not `recursive`, of some files.

    Of a file its folder is watched: editors and git put a new file in the place of the old one, and a watch of the file
    would stay with the old one.
    """
    names = {os.path.basename(each) for each in paths}  # noqa: PTH119 - as watchfiles gives them, text
    is_python = watchfiles.PythonFilter()

    def is_ours(change: watchfiles.Change, path: str) -> bool:
        return is_python(change, path) if recursive else os.path.basename(path) in names  # noqa: PTH119 - as above

    watching = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType] - its types name trio, which is not here
        *(paths if recursive else {str(Path(each).parent) for each in paths}),
        watch_filter=is_ours,
        step=STEP_MILLISECONDS,
        recursive=recursive,
    )
    async for found in watching:
        yield sorted({os.path.relpath(path) for _, path in found})  # noqa: ASYNC240 - asks no disk
