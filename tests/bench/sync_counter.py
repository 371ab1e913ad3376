"""Counts the syncs of a process by a small library loaded before the C library. Linux with a C compiler only."""

import ctypes
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("count_syncs.c")


@cache
def library() -> str | None:
    """Compile the library, once in a process, and return its path; None where that cannot be."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    made = Path(tempfile.gettempdir()) / f"dawdle-count-syncs-{int(SOURCE.stat().st_mtime)}.so"
    if not made.exists():
        command = [compiler, "-shared", "-fPIC", "-O2", "-o", f"{made}.new", str(SOURCE), "-ldl"]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        Path(f"{made}.new").replace(made)
    return str(made)


def counts() -> tuple[int, int] | None:
    """Return the syncs of this process so far, and how often it took an exclusive `flock`; None: not counted."""
    try:
        loaded = ctypes.CDLL(None)
        return loaded.bench_syncs(), loaded.bench_locks()
    except (AttributeError, OSError, TypeError):
        return None
