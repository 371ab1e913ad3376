"""What is answered is on the disk: syncs counted, a power cut, a disk that fails or is full or is read-only."""

import os
import re
import shutil
import sqlite3
import subprocess

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

COUNTED = """
async def main():
    async with SQLite(path, durability=sys.argv[2]) as queue:
        say("open")
        for line in sys.stdin:
            if line == "send\\n":
                await asyncio.gather(*(queue.send([Outgoing(b"one")]) for _ in range(20)))
            if line == "receive\\n":
                receipts = [each.receipt for each in await queue.receive(20, 0)]
            if line == "renew\\n":
                await queue.renew(receipts)
            if line == "ack\\n":
                await queue.ack(receipts)
            say("done")

asyncio.run(main())
"""


@pytest.mark.parametrize(("durability", "expected"), [("full", [1, 0, 0, 1]), ("normal", [0, 0, 0, 0])])
def test_what_is_stored_or_deleted_is_synced_once_and_a_lease_never(program, disk, durability, expected):
    one = program(COUNTED, durability, **disk.environment)
    assert one.line() == "open"
    one.go("send")  # the log of a new file is begun with syncs of its own
    one.line()
    syncs = []
    for act in ("send", "receive", "renew", "ack"):
        before = disk.syncs
        one.go(act)
        assert one.line() == "done"
        syncs.append(disk.syncs - before)
    assert syncs == expected


POWER = """
async def main():
    number = 0
    async with SQLite(path, durability=sys.argv[2]) as queue:
        async def signal():
            nonlocal number
            while True:
                number += 1
                mine = number
                await queue.send([Outgoing(b"%d" % mine)])
                say(mine)
        async def receive():
            while True:
                got = await queue.receive(10, 1)
                await asyncio.sleep(0.001)
        await asyncio.gather(*(signal() for _ in range(8)), receive())

asyncio.run(main())
"""


def test_what_was_answered_survives_a_power_cut(program, disk, path):
    one = program(POWER, "full", **disk.kept)
    answered = {int(one.line()) for _ in range(500)}
    one.process.kill()
    answered |= {int(line) for line in one.rest()}
    left = bodies_after_power_cut(disk, path)
    assert answered <= left
    assert len(answered) >= 500


def test_normal_durability_may_lose_the_last_of_it_in_a_power_cut(program, disk, path):
    one = program(POWER, "normal", **disk.kept)
    answered = {int(one.line()) for _ in range(500)}
    one.process.kill()
    one.rest()
    assert not answered <= bodies_after_power_cut(disk, path)


def bodies_after_power_cut(disk, path):
    """What is in the file when only the writes are left that were synced."""
    for suffix in ("", "-wal", "-shm", "-lock"):
        (path.parent / (path.name + suffix)).unlink(missing_ok=True)
    for each in disk.synced.iterdir():
        if not each.name.endswith(".new"):
            shutil.copy(each, path.parent / each.name)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    try:
        bodies = {int(body) for (body,) in connection.execute("SELECT body FROM dawdle_message")}
    except sqlite3.OperationalError:
        bodies = set()  # not even the tables
    connection.close()
    return bodies


FAILS = """
async def main():
    async with SQLite(path) as queue:
        await queue.send([Outgoing(b"before")])
        say("open")
        sys.stdin.readline()
        try:
            await queue.send([Outgoing(b"one")])
        except BackendError as error:
            say(error.kind, error.uncertain, error)
        say("failed")
        sys.stdin.readline()
        await queue.send([Outgoing(b"after")])
        got = []
        while more := await queue.receive(10, 0):
            got += [each.body.decode() for each in more]
        say(*got)

asyncio.run(main())
"""


def test_an_io_error_at_commit_is_uncertain_and_the_queue_goes_on_after_it(program, disk):
    one = program(FAILS, **disk.environment)
    assert one.line() == "open"
    disk.fail()
    one.go()
    assert re.match(r"unavailable True SQLite could not use .*: disk I/O error \(SQLITE_IOERR_FSYNC\)", one.line())
    assert one.line() == "failed"
    disk.recover()
    one.go()
    got = one.line().split()
    assert "before" in got
    assert "after" in got


FULL = """
async def main():
    async with SQLite(path) as queue:
        await queue.send([Outgoing(b"first")])
        stored = 0
        try:
            while True:
                await queue.send([Outgoing(b"x" * 50_000)])
                stored += 1
        except BackendError as error:
            say(error.kind, error.uncertain, error)
        os.unlink(sys.argv[2])  # somebody makes room
        await queue.send([Outgoing(b"last")])
        got = []
        while more := await queue.receive(10, 0):
            got += more
            await queue.ack([each.receipt for each in more])
        say(stored, len(got), got[0].body, got[-1].body)

asyncio.run(main())
"""


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes, half of which is taken by a file."""
    mount = tmp_path / "small"
    mount.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("only root may make a file system")
    (mount / "ballast").write_bytes(b"x" * (2 << 20))
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


def test_a_full_disk_is_a_clear_error_that_loses_nothing(program, small_disk, monkeypatch):
    from tests.backends.sqlite.conftest import Program

    one = Program(small_disk / "app.db", FULL, small_disk / "ballast")
    told, counts = one.rest()
    assert re.match(
        r"unavailable False SQLite could not use .*: database or disk is full \(SQLITE_FULL\); the disk, .* free some",
        told,
    )
    stored, received, first, last = counts.split()
    assert int(received) == int(stored) + 2
    assert (first, last) == ("b'first'", "b'last'")


READ_ONLY = """
os.setuid(65534)

async def main():
    try:
        async with SQLite(path):
            say("open")
    except ConfigurationError as error:
        say(error)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root changes to a user without rights")
async def test_a_file_that_this_user_may_not_write_is_a_clear_error(path, sqlite, tmp_path):
    from tests.backends.sqlite.conftest import Program

    async with sqlite() as queue:
        await queue.send([Outgoing(b"one")])
    for directory in (tmp_path, *tmp_path.parents):
        if str(directory).startswith("/tmp/pytest"):
            directory.chmod(0o755)
    (told,) = Program(path, READ_ONLY).rest()
    assert re.match(r"cannot open .*app.db-lock, which dawdle keeps beside the database: Permission denied; let", told)
    path.with_name("app.db-lock").chmod(0o666)
    (told,) = Program(path, READ_ONLY).rest()
    assert re.match(r"SQLite could not use .* \(SQLITE_(READONLY|CANTOPEN).*\); .*write to", told)


async def test_a_file_on_a_disk_that_is_mounted_read_only(small_disk):
    from dawdle.errors import ConfigurationError

    async with SQLite(small_disk / "app.db") as queue:
        await queue.send([Outgoing(b"one")])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)  # noqa: ASYNC221
    with pytest.raises(ConfigurationError, match="Read-only file system"):
        async with SQLite(small_disk / "app.db"):
            pass
