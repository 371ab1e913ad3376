"""Functions that a worker runs: one compresses a file, and later another removes the original."""

import gzip
import logging
import os
from pathlib import Path
from shutil import copyfileobj

import dawdle

KEEP = float(os.environ.get("KEEP_SECONDS", "60"))
"""Seconds for which the original is kept beside its archive."""

log = logging.getLogger(__name__)


@dawdle.function(name="archive.compress", concurrency=2)
def compress(path: str, level: int = 6) -> None:
    """Compress a file. It is a `def`, so it runs in a thread. A second run does no harm."""
    source, part, archive = (Path(path + end) for end in ("", ".gz.part", ".gz"))
    if not archive.exists():  # else a run before this one has done it, and was killed
        with source.open("rb") as plain, gzip.open(part, "wb", level) as packed:
            copyfileobj(plain, packed)
        part.rename(archive)
    dawdle.from_thread.call_after(KEEP, remove, path)


@dawdle.function(name="archive.remove")
def remove(path: str, *, ctx: dawdle.Context | None = None) -> None:
    Path(path).unlink(missing_ok=True)
    log.info("removed %s, attempt %d", path, ctx.attempt if ctx else 1)
