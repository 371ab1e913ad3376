"""A few of the cuts in __main__.py; `nox -s sqlite -- power_cut` makes many."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.power_cut.__main__ import NAME, Load, build, left_in, run
from tests.power_cut.disk import Disk, records

pytestmark = [
    pytest.mark.once,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="needs Linux and a C compiler"),
]

SMALL = Load(processes=2, messages=100, kills=0)


def test_what_was_acknowledged_is_there_after_a_power_cut():
    figures = run(range(1, 2), cuts=15, load=SMALL)
    assert figures.broken == [], figures.shown


GAP = """
import asyncio, os, signal, sys
from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from dawdle.errors import BackendError

path, fails, *acts = sys.argv[1:]

async def main():
    async with SQLite(path) as queue:
        for act in acts:
            if act == "claim":  # it is committed, and not synced
                await queue.receive(1, 0)
            elif act == "fail":
                open(fails, "w").close()
                try:
                    await queue.send([Outgoing(b"uncertain")])
                except BackendError:
                    os.unlink(fails)
            else:
                await queue.send([Outgoing(act.encode())])
        os.kill(os.getpid(), signal.SIGKILL)  # a close would empty the log

asyncio.run(main())
"""


@pytest.mark.parametrize("runs", [["first claim fail after"], ["first claim fail", "after"]])
def test_what_is_stored_after_a_sync_that_failed_is_not_behind_a_gap_in_the_log(tmp_path, runs):
    data, journal, fails = tmp_path / "data", tmp_path / "journal", tmp_path / "fails"
    data.mkdir()
    noted = {"LD_PRELOAD": build(tmp_path), "POWER_CUT_FILE": data / NAME, "POWER_CUT_JOURNAL": journal}
    environment = os.environ | {name: str(value) for name, value in noted.items()} | {"POWER_CUT_FAILS": str(fails)}
    for acts in runs:
        command = [sys.executable, "-c", GAP, data / NAME, fails, *acts.split()]
        assert subprocess.run(command, env=environment, timeout=60, check=False).returncode == -signal.SIGKILL
    disk = Disk()
    for record in records(journal.read_bytes()):
        disk.do(record)
    assert disk.failed_syncs
    left = tmp_path / "left"
    left.mkdir()
    for name, content in disk.after_a_cut(None).items():
        (left / name).write_bytes(content)
    assert {"first", "after"} <= asyncio.run(left_in(left))


def test_a_disk_whose_syncs_fail_now_and_then_loses_nothing_that_was_acknowledged():
    figures = run(range(1, 2), cuts=15, load=replace(SMALL, messages=200, failures=15))
    assert figures.broken == [], figures.shown


def test_the_cuts_find_what_durability_normal_may_lose():
    figures = run(range(1, 2), cuts=15, load=SMALL, durability="normal")
    assert figures.broken == [], figures.shown
