"""A file that is locked: by a transaction of this process, by another program, by a process that is stopped."""

import asyncio
import os
import signal
import sqlite3
import sys

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import _database
from dawdle.backends.sqlite._lock_holder import holder_of
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio

ONE = [Outgoing(b"one")]
LINUX = sys.platform == "linux"


async def bodies_in(queue):
    return [delivery.body for delivery in await queue.receive(100, 0)]


async def test_a_file_that_another_program_keeps_locked_is_an_error_after_a_while(path, sqlite, monkeypatch):
    monkeypatch.setattr(_database, "LOCKED_SECONDS", 0.3)
    async with sqlite() as queue:
        await queue.send(ONE)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(
            BackendError, match="SQLITE_BUSY.*another connection.* has it locked.*transaction="
        ) as caught:
            await queue.send(ONE)
        assert not caught.value.uncertain
        waiting = asyncio.create_task(queue.send([Outgoing(b"two")]))
        await asyncio.sleep(0.1)
        holder.execute("COMMIT")
        await waiting
        assert await bodies_in(queue) == [b"one", b"two"]
        holder.close()


@pytest.mark.skipif(not LINUX, reason="only Linux tells who has a lock")
async def test_the_error_says_which_process_keeps_the_file_locked(path, sqlite, monkeypatch, program):
    monkeypatch.setattr(_database, "LOCKED_SECONDS", 0.3)
    async with sqlite() as queue:
        await queue.send(ONE)
        own = sqlite3.connect(path, isolation_level=None)
        own.execute("BEGIN IMMEDIATE")
        with pytest.raises(BackendError, match="another connection of this process has it locked: .* transaction="):
            await queue.send(ONE)
        own.close()
        holder = program("""
            connection = sqlite3.connect(path, isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            say("locked")
            time.sleep(600)
        """)
        assert await asyncio.to_thread(holder.line) == "locked"
        with pytest.raises(BackendError, match=f"process {holder.process.pid} has it locked: keep its transactions"):
            await queue.send(ONE)


def test_a_lock_that_only_waits_or_is_of_another_byte_or_file_is_no_holder(tmp_path):
    index = tmp_path / "app.db-shm"
    index.touch()
    number, locks = index.stat().st_ino, tmp_path / "locks"
    locks.write_text(
        f"1: POSIX  ADVISORY  READ  11 fe:00:{number} 120 120\n2: POSIX  ADVISORY  WRITE 12 fe:00:{number} 121 121\n"
        f"3: POSIX  ADVISORY  WRITE 13 fe:00:{number}1 120 120\n"
        f"3: -> POSIX  ADVISORY  WRITE 14 fe:00:{number} 120 120\n"
    )
    assert holder_of(str(tmp_path / "app.db"), str(locks)) is None
    with locks.open("a") as more:
        more.write(f"4: POSIX  ADVISORY  WRITE 15 fe:00:{number} 0 EOF\n")
    assert holder_of(str(tmp_path / "app.db"), str(locks)) == 15
    assert holder_of(str(tmp_path / "app.db"), str(tmp_path / "none")) is None


async def test_a_transaction_that_began_with_a_read_is_told_to_begin_again(path, sqlite):
    async with sqlite() as queue:
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM dawdle_message").fetchall()
        await queue.send(ONE)
        with pytest.raises(BackendError, match="SQLITE_BUSY_SNAPSHOT.*began with a read.*BEGIN IMMEDIATE"):
            await queue.send_in(reader, ONE)
        reader.close()


STOPPED = """
async def main():
    async with SQLite(path) as queue:
        await queue.send([Outgoing(b"one")])
        with queue._worker.database._lock:
            say("locked")
            time.sleep(600)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", [signal.SIGKILL, signal.SIGCONT])
async def test_a_holder_that_is_stopped_fails_the_calls_and_they_are_not_carried_out_later(
    program, sqlite, monkeypatch, then
):
    from dawdle.backends.sqlite import _queue, _worker

    monkeypatch.setattr(_worker, "LOCKED_SECONDS", 0.5)
    monkeypatch.setattr(_queue, "WATCH_SECONDS", 0.1)
    async with sqlite() as queue:
        holder = program(STOPPED)
        assert await asyncio.to_thread(holder.line) == "locked"
        os.kill(holder.process.pid, signal.SIGSTOP)
        who = f"process {holder.process.pid}: .*stopped" if LINUX else "another connection"
        with pytest.raises(BackendError, match=f"has been locked for 0.5 s by {who}") as caught:
            await queue.send([Outgoing(b"given up")])
        assert not caught.value.uncertain
        with pytest.raises(BackendError, match="has been locked for"):  # at once: it is known by now
            await queue.send([Outgoing(b"given up")])
        os.kill(holder.process.pid, then)
        os.kill(holder.process.pid, signal.SIGKILL)
        await asyncio.to_thread(holder.process.wait)
        await queue.send([Outgoing(b"two")])
        assert await bodies_in(queue) == [b"one", b"two"]


KILLED = """
async def main():
    async with SQLite(path) as queue:
        def work(connection):
            connection.execute("INSERT INTO dawdle_message(queue,visible_at,stored_at,body) VALUES(1,0,0,x'00')")
            say("in a transaction")
            time.sleep(600)
        queue._worker.database.transact(work)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_holder_that_is_killed_in_its_transaction_leaves_nothing_of_it(program, sqlite):
    async with sqlite() as queue:
        holder = program(KILLED)
        assert await asyncio.to_thread(holder.line) == "in a transaction"
        waiting = asyncio.create_task(queue.send(ONE))
        await asyncio.sleep(0.1)
        holder.process.kill()
        async with asyncio.timeout(5):
            await waiting
        assert await bodies_in(queue) == [b"one"]
