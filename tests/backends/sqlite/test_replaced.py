"""A database file that is moved, deleted or restored while a process has it open, and what must not come of it."""

import asyncio
import sqlite3
import threading
import time

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite, _file_check, _open_files, _worker
from dawdle.backends.sqlite._calls import AckCall, QueueRow, ReleaseCall
from dawdle.backends.sqlite._file_check import require_one_name
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio


def remove(path):
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"app.db{suffix}").unlink()


NOTICE = b"notice"
"""It may be stored in the old file: that is only looked at after the commit."""


async def noticed(queue):
    await asyncio.sleep(_file_check.CHECK_SECONDS * 1.5)  # a check holds for as long
    with pytest.raises(BackendError, match="while this process had it open"):
        await queue.send([Outgoing(NOTICE)])


async def received(queue):
    return {each.body for each in await queue.receive(10, 0)}


async def test_each_queue_is_found_by_its_name_in_the_new_file(path, sqlite):
    async with sqlite(name="first") as first, sqlite(name="second") as second:
        remove(path)
        await noticed(second)
        await second.send([Outgoing(b"for the second")])
        await first.send([Outgoing(b"for the first")])
        await first.dead_letters.send([Outgoing(b"dead")])
    async with sqlite(name="second") as second, sqlite(name="first") as first:
        assert await received(second) == {b"for the second"}
        assert await received(first) == {b"for the first"}
        assert await received(first.dead_letters) == {b"dead"}


async def test_a_receipt_of_the_old_file_does_nothing_to_a_message_of_the_new_one(path, sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"old")])
        (old,) = await queue.receive(1, 0)
        remove(path)
        await noticed(queue)
        await queue.send([Outgoing(b"new")])
        (new,) = await queue.receive(1, 0)
        assert new.key != old.key  # an app that has the old one in hand would take it for the same, and not run it
        assert await queue.ack([old.receipt]) == [None]
        assert [fault.kind for fault in await queue.renew([old.receipt])] == ["lost"]
        assert [fault.kind for fault in await queue.release([(old.receipt, 0)])] == ["lost"]
        assert (await queue.count()).in_flight == 1
        assert await queue.renew([new.receipt]) == [None]
        assert await queue.ack([new.receipt]) == [None]
        assert (await queue.count()).in_flight == 0


async def test_a_call_that_waits_while_the_file_is_replaced_has_no_receipts_any_more():
    row = QueueRow(1, "default", "", ordered=False)
    acks, releases = AckCall(row, ["7.1", "8.2"]), ReleaseCall(row, [("7.1", 5.0)])
    assert (acks.receipts, releases.batch) == ([(7, 1), (8, 2)], [((7, 1), 5.0)])
    row.opening = 1
    assert (acks.receipts, releases.batch) == ([(-1, -1)] * 2, [((-1, -1), 5.0)])
    assert AckCall(row, ["7.1", "7.1.1", "7.1.2"]).receipts == [(-1, -1), (7, 1), (-1, -1)]


async def test_a_directory_that_is_away_for_a_moment_ends_nothing(tmp_path):
    (tmp_path / "data").mkdir()
    async with SQLite(tmp_path / "data" / "app.db") as queue:
        await queue.send([Outgoing(b"first")])
        (tmp_path / "data").rename(tmp_path / "away")
        await noticed(queue)
        for _ in range(2):
            with pytest.raises(BackendError, match=r"could not open .* again: .* there is no directory") as caught:
                await queue.send([Outgoing(b"lost")])
            assert not caught.value.uncertain
        (tmp_path / "away").rename(tmp_path / "data")
        await queue.send([Outgoing(b"second")])
        assert await received(queue) - {NOTICE} == {b"first", b"second"}


async def test_a_backup_is_not_opened_with_the_log_of_the_file_before_it(path, sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"in the backup")])
        backup = path.with_name("backup.db")
        connection = sqlite3.connect(path)
        connection.execute("VACUUM INTO ?", (str(backup),))
        connection.close()
        await queue.send([Outgoing(bytes(1000)) for _ in range(50)])
        backup.replace(path)
        await noticed(queue)
        with pytest.raises(BackendError, match="delete .*-wal"):
            await queue.send([Outgoing(b"lost")])
        for suffix in ("-wal", "-shm"):
            path.with_name(f"app.db{suffix}").unlink()
        await queue.send([Outgoing(b"after it")])
        assert await received(queue) == {b"in the backup", b"after it"}


async def test_a_file_that_is_moved_away_alone_and_back_has_lost_nothing(path, sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"first")])
        path.rename(path.with_name("away.db"))
        await noticed(queue)
        with pytest.raises(BackendError, match="delete .*-wal"):
            await queue.send([Outgoing(b"lost")])
        path.with_name("away.db").rename(path)
        await queue.send([Outgoing(b"second")])
        assert await received(queue) - {NOTICE} == {b"first", b"second"}


async def test_an_open_behind_a_stopped_holder_is_an_error_and_works_later(path, sqlite, program, monkeypatch):
    monkeypatch.setattr(_worker, "LOCKED_SECONDS", 0.5)
    monkeypatch.setattr(_open_files, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(_open_files, "CLOSE_SECONDS", 0.1)
    async with sqlite() as queue:
        await queue.send([Outgoing(b"kept")])
    holder = program("""
        import fcntl
        file = open(f"{path}-lock")
        fcntl.flock(file, fcntl.LOCK_EX)
        say("locked")
        time.sleep(600)
    """)
    assert await asyncio.to_thread(holder.line) == "locked"
    for _ in range(2):
        with pytest.raises(BackendError, match="has been locked for 0.5 s by (another connection|process)") as caught:
            await sqlite().__aenter__()
        assert not caught.value.uncertain
    holder.process.kill()
    async with sqlite() as queue:
        assert await received(queue) == {b"kept"}
    end = time.monotonic() + 10
    while any(thread.name.startswith("dawdle: ") for thread in threading.enumerate()) and time.monotonic() < end:
        await asyncio.sleep(0.01)  # the threads of the first two end as well


async def test_a_file_with_two_names_is_refused(path, sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"kept")])
    other = path.with_name("other.db")
    other.hardlink_to(path)
    with pytest.raises(ConfigurationError, match="has 2 names, by hard links"):
        await sqlite().__aenter__()
    other.unlink()
    other.symlink_to(path)
    async with SQLite(other) as queue:  # who opens it by a symbolic link has the same log
        assert await received(queue) == {b"kept"}


def test_a_file_that_is_mounted_by_itself_is_refused(path):
    mounts = path.with_name("mountinfo")
    mounts.write_text(f"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 254:0 /app.db {path} rw - ext4 /dev/vda rw\n")
    with pytest.raises(ConfigurationError, match="is mounted by itself"):
        require_one_name(str(path), str(mounts))
    require_one_name(f"{path}2", str(mounts))
    require_one_name(str(path), str(mounts.with_name("none")))


async def test_a_log_without_its_file_is_not_deleted_by_the_first_open(path, sqlite, program):
    ended = program("""
        async def main():
            queue = await SQLite(path).__aenter__()
            await queue.send([Outgoing(b"kept")])
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    ended.process.wait(20)
    path.rename(path.with_name("away.db"))
    with pytest.raises(ConfigurationError, match=r"app.db is missing, and .*app.db-wal.* is there"):
        await sqlite().__aenter__()
    path.with_name("away.db").rename(path)
    async with sqlite() as queue:
        assert await received(queue) == {b"kept"}
