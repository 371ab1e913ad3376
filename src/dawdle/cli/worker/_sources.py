"""Watches the code of an app for changes, for `--reload`."""

import os
import stat
from collections.abc import AsyncGenerator, Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import watchfiles

__all__ = ["Watched", "changed_since", "changes", "to_watch"]

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


def changed_since(sources: Iterable[str], when: float) -> list[str]:
    """Return the files that have changed since a time, in epoch seconds."""
    found: list[str] = []
    for each in sources:
        with suppress(OSError):  # it is gone, and what is gone did not change into anything
            status = os.stat(each)  # noqa: PTH116 - as texts
            if stat.S_ISREG(status.st_mode) and status.st_mtime > when:
                found.append(os.path.relpath(each))
    return sorted(found)


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
