"""The file itself: not ours, newer, older, replaced, deleted, on a network, in a forked child, backed up."""

import asyncio
import logging
import os
import signal
import sqlite3
import sys

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite, _file_check, _schema
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio

ONE = [Outgoing(b"one")]


async def until_the_next_check():
    await asyncio.sleep(_file_check.CHECK_SECONDS * 1.5)


async def bodies_in(queue):
    return [delivery.body for delivery in await queue.receive(100, 0)]


def lines_of(caplog, level):
    return [record.getMessage() for record in caplog.records if record.levelno == level]


# What is opened


async def test_a_database_of_the_users_own_gets_the_tables_and_keeps_its_version(path, sqlite):
    users = sqlite3.connect(path)
    users.execute("CREATE TABLE orders(id)")
    users.execute("PRAGMA user_version=7")
    users.execute("PRAGMA application_id=99")
    users.commit()
    async with sqlite() as queue:
        await queue.send(ONE)
        assert await bodies_in(queue) == [b"one"]
    assert users.execute("PRAGMA user_version").fetchone() == (7,)
    assert users.execute("PRAGMA application_id").fetchone() == (99,)
    names = {name for (name,) in users.execute("SELECT name FROM sqlite_schema WHERE type='table'")}
    assert all(name.startswith(("dawdle_", "sqlite_")) for name in names - {"orders"})
    users.close()


async def test_what_is_stored_is_there_when_it_is_opened_again(sqlite):
    async with sqlite() as queue:
        await queue.send([*ONE, Outgoing(b"later", delay=1000)])
        first = queue.identity
    async with sqlite() as queue:
        assert await bodies_in(queue) == [b"one"]
        assert (await queue.count()).delayed == 1
        assert queue.identity == first


async def test_a_file_that_is_no_database_is_an_error(path, sqlite):
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigurationError, match="SQLITE_NOTADB.*not a SQLite database: move it away"):
        await sqlite().__aenter__()
    assert path.read_bytes() == b"not a database" * 1000


async def test_a_file_of_a_newer_dawdle_is_an_error(path, sqlite):
    async with sqlite():
        pass
    connection = sqlite3.connect(path)
    connection.execute("UPDATE dawdle_schema SET version=99")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigurationError, match="has version 99 of dawdle's tables, .* update this one"):
        await sqlite().__aenter__()


async def test_a_file_of_an_older_dawdle_is_brought_up_to_date(path, sqlite, monkeypatch):
    async with sqlite() as queue:
        await queue.send(ONE)
    second = "CREATE TABLE dawdle_more(id)\n\nALTER TABLE dawdle_message ADD COLUMN more"
    monkeypatch.setattr(_schema, "MIGRATIONS", [*_schema.MIGRATIONS, second])
    async with sqlite() as queue:
        assert await bodies_in(queue) == [b"one"]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version FROM dawdle_schema").fetchall() == [(len(_schema.MIGRATIONS),)]
    assert connection.execute("SELECT more FROM dawdle_message").fetchall() == [(None,)]
    connection.close()


async def test_a_file_of_the_first_version_is_brought_up_to_date(path, sqlite, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", _schema.MIGRATIONS[:1])
        async with sqlite() as queue:
            await queue.send(ONE)
    async with sqlite() as queue:
        assert await bodies_in(queue) == [b"one"]
        connection = sqlite3.connect(path)
        (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name='dawdle_message_visible'").fetchone()
        assert "receives DESC" in sql
        connection.close()


async def test_a_migration_that_fails_leaves_the_file_as_it_was(path, sqlite, monkeypatch):
    async with sqlite() as queue:
        await queue.send(ONE)
    with monkeypatch.context() as patch:
        patch.setattr(_schema, "MIGRATIONS", [*_schema.MIGRATIONS, "CREATE TABLE dawdle_more(id)\n\nCREATE nonsense"])
        with pytest.raises(BackendError, match="syntax error"):
            await sqlite().__aenter__()
    async with sqlite() as queue:
        assert await bodies_in(queue) == [b"one"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "CREATE TABLE dawdle_things(id)",
            "tables that begin with dawdle_ and that dawdle did not make .dawdle_things",
        ),
        ("CREATE TABLE dawdle_schema(version, file_id)", "without dawdle's version"),
    ],
)
async def test_tables_with_our_names_that_are_not_ours_are_an_error(path, sqlite, sql, message):
    connection = sqlite3.connect(path)
    connection.execute(sql)
    connection.close()
    with pytest.raises(ConfigurationError, match=message):
        await sqlite().__aenter__()


async def test_a_path_that_cannot_be_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="there is no directory .*missing"):
        await SQLite(tmp_path / "missing" / "app.db").__aenter__()
    queue = SQLite(tmp_path / "app.db")
    (tmp_path / "app.db").mkdir()  # a directory that is there when it is made is refused then
    with pytest.raises(ConfigurationError, match="SQLITE_CANTOPEN"):
        await queue.__aenter__()


async def test_after_an_error_it_can_be_opened(path, sqlite):
    path.write_bytes(b"not a database" * 1000)
    queue = sqlite()
    with pytest.raises(ConfigurationError):
        await queue.__aenter__()
    path.unlink()
    async with queue:
        await queue.send(ONE)


async def test_several_that_open_a_new_file_at_once(program, path):
    code = """
        async def main():
            for _ in range(20):
                async with SQLite(path + sys.stdin.readline().strip()) as queue:
                    await queue.send([Outgoing(b"one")])
                    say("ok")
        asyncio.run(main())
    """
    programs = [program(code) for _ in range(4)]
    for number in range(20):
        for each in programs:
            each.go(str(number))
        assert [await asyncio.to_thread(each.line) for each in programs] == ["ok"] * 4


# Network file systems


@pytest.mark.parametrize(
    ("kind", "point", "expected"),
    [
        ("nfs4", "/mnt/share", True),
        ("fuse.sshfs", "/mnt/share", True),
        ("virtiofs", "/mnt", True),
        ("ext4", "/mnt/share", False),
        ("nfs4", "/mnt/sha", False),
        ("cifs", "/mnt/share/a\\040b", False),
    ],
)
def test_network_file_systems_are_refused(tmp_path, monkeypatch, kind, point, expected):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n30 22 0:30 / {point} rw shared:1 - {kind} server:/x rw\n"
    )
    monkeypatch.setattr(_file_check.file_system_of, "__defaults__", (str(mounts),))
    if not expected:
        _file_check.require_local_file_system("/mnt/share/app.db", allowed=False)
        return
    with pytest.raises(ConfigurationError, match=f"lies on {kind}, .* a named volume"):
        _file_check.require_local_file_system("/mnt/share/app.db", allowed=False)
    _file_check.require_local_file_system("/mnt/share/app.db", allowed=True)


def test_a_space_in_a_mount_point(tmp_path):
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:30 / /mnt/a\\040b rw - nfs server:/x rw\n")
    assert _file_check.file_system_of("/mnt/a b/app.db", str(mounts)) == "nfs"
    assert _file_check.file_system_of("/mnt/a/app.db", str(mounts)) == "ext4"


async def test_the_option_is_asked(sqlite, monkeypatch):
    monkeypatch.setattr(_file_check, "file_system_of", lambda path: "nfs4")
    with pytest.raises(ConfigurationError, match="lies on nfs4"):
        await sqlite().__aenter__()
    async with sqlite(allow_network_file_system=True) as queue:
        await queue.send(ONE)


# Files that are replaced


async def test_a_file_that_was_deleted_is_an_error_and_a_new_one_is_opened(path, sqlite, caplog):
    async with sqlite() as queue:
        await queue.send(ONE)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"app.db{suffix}").unlink()
        await until_the_next_check()
        with pytest.raises(BackendError, match="is gone while this process had it open; nothing was stored") as caught:
            await queue.send(ONE)
        assert not caught.value.uncertain
        await queue.send([Outgoing(b"new")])
        assert await bodies_in(queue) == [b"new"]
    assert any("was replaced or deleted" in line for line in lines_of(caplog, logging.ERROR))


async def test_a_file_that_was_replaced_is_an_error_and_the_new_one_is_used(path, sqlite, tmp_path):
    async with SQLite(tmp_path / "backup.db") as other:
        await other.send([Outgoing(b"from the backup")])
    async with sqlite() as queue:
        await queue.send(ONE)
        (tmp_path / "backup.db").replace(path)
        for suffix in ("-wal", "-shm"):
            path.with_name(f"app.db{suffix}").unlink()
        with pytest.raises(BackendError, match=r"is gone|was replaced by another file"):
            await queue.send(ONE)
        assert await bodies_in(queue) == [b"from the backup"]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_a_file_that_is_replaced_during_a_transaction_leaves_it_uncertain(path, sqlite, monkeypatch):
    async with sqlite() as queue:
        await queue.send(ONE)
        real = _file_check.FileCheck.check

        def check(self, *, committed):
            if committed:
                path.unlink()
            return real(self, committed=committed)

        with monkeypatch.context() as patch:
            patch.setattr(_file_check.FileCheck, "check", check)
            with pytest.raises(BackendError, match="what was just stored may be lost") as caught:
                await queue.send(ONE)
        assert caught.value.uncertain


@pytest.mark.skipif(sys.version_info < (3, 12), reason="before Python 3.12 the process must be restarted")
async def test_a_log_that_was_deleted_is_an_error_and_the_file_is_opened_again(path, sqlite):
    async with sqlite() as queue:
        await queue.send(ONE)
        for suffix in ("-wal", "-shm"):
            path.with_name(f"app.db{suffix}").unlink()
        await until_the_next_check()
        with pytest.raises(BackendError, match="is gone while this process had it open"):
            await queue.send(ONE)
        await queue.send([Outgoing(b"new")])
        assert b"new" in await bodies_in(queue)


OTHER = """
async def main():
    async with SQLite(path) as queue:
        await queue.send([Outgoing(b"theirs") for _ in range(50)])
        say("stored")
        sys.stdin.readline()
        await queue.send([Outgoing(b"theirs") for _ in range(50)])
        connection = sqlite3.connect(path)
        say(connection.execute("PRAGMA integrity_check").fetchone())
        say(dict(connection.execute("SELECT body,count(*) FROM dawdle_message GROUP BY body").fetchall()))
        connection.close()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether the old one is in use")
@pytest.mark.parametrize("held", [False, True])
async def test_an_index_of_the_log_that_was_deleted_damages_nothing(path, sqlite, program, monkeypatch, held):
    """Two processes with an index each would write to the log in the same places."""
    monkeypatch.setattr(_file_check, "CHECK_SECONDS", 60)  # the rest was checked just now
    async with sqlite() as queue:
        await queue.send([Outgoing(b"before") for _ in range(50)])
        own = sqlite3.connect(path)  # it keeps the old index, and shares it with any new connection of this process
        own.execute("SELECT count(*) FROM dawdle_message").fetchall()
        if not held:
            own.close()
        path.with_name("app.db-shm").unlink()
        other = program(OTHER)
        assert await asyncio.to_thread(other.line) == "stored"
        with pytest.raises(BackendError, match="another index of its log, or none, .*nothing was stored") as caught:
            await queue.send([Outgoing(b"after")])
        assert not caught.value.uncertain
        if held or sys.version_info < (3, 12):
            with pytest.raises(BackendError, match="restart it"):
                await queue.send([Outgoing(b"after")])
        else:
            await queue.send([Outgoing(b"after")])
        other.go()
        after = {} if held or sys.version_info < (3, 12) else {b"after": 1}
        assert other.rest() == ["('ok',)", str(after | {b"before": 50, b"theirs": 100})]
        own.close()


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python 3.12 can open it again")
async def test_a_log_that_was_deleted_asks_for_a_restart(path, sqlite):
    async with sqlite() as queue:
        await queue.send(ONE)
        path.with_name("app.db-wal").unlink()
        with pytest.raises(BackendError, match="is gone while this process had it open"):
            await queue.send(ONE)
        for _ in range(2):
            with pytest.raises(BackendError, match="restart it") as caught:
                await queue.send(ONE)
            assert not caught.value.uncertain


async def test_a_close_elsewhere_in_the_process_that_drops_the_locks_is_noticed(path, sqlite, program):
    async with sqlite() as queue:
        await queue.send(ONE)
        path.read_bytes()  # closes the file, and with that drops the locks that SQLite has on it
        other = program(
            "connection = sqlite3.connect(path); connection.execute('CREATE TABLE t(x)'); connection.close()"
        )
        other.rest()
        assert not path.with_name("app.db-wal").exists()  # it took itself for the last one, and deleted our log
        await until_the_next_check()
        with pytest.raises(BackendError, match="while this process had it open; nothing was stored"):
            await queue.send(ONE)


# Forks


FORKED = """
import warnings
warnings.simplefilter("ignore")

async def use(queue):
    try:
        await queue.send([Outgoing(b"child")])
    except ConfigurationError as error:
        say(error)

async def reopen():
    try:
        async with SQLite(path):
            pass
    except ConfigurationError as error:
        say(error)

loop = asyncio.new_event_loop()
run = loop.run_until_complete
queue = SQLite(path)
run(queue.__aenter__())
run(queue.send([Outgoing(b"one")]))
child = os.fork()
if child == 0:
    asyncio.run(use(queue))
    asyncio.run(reopen())
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[2] == "leave":
        asyncio.run(queue.__aexit__(None, None, None))
    sys.exit(0)
os.waitpid(child, 0)
run(queue.send([Outgoing(b"two")]))
say(*[each.body for each in run(queue.receive(10, 0))])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("end", ["kill", "exit", "leave"])
def test_a_forked_child_may_not_use_the_file_and_does_no_harm(program, end):
    use, reopen, parent = program(FORKED, end).rest()
    assert use.startswith("this process was forked from one that has")
    assert reopen.startswith("this process was forked from one that had")
    assert parent == "b'one' b'two'"


HOLDS_ON = """
import warnings
warnings.simplefilter("ignore")

async def main():
    async with SQLite(path) as queue:
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
        say(child)
        lock = queue._worker.database._lock
        lock.__enter__()
        say("locked")
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
async def test_a_child_does_not_keep_the_lock_of_a_parent_that_was_killed(program, sqlite):
    one = program(HOLDS_ON)
    child = int(one.line())
    assert one.line() == "locked"
    one.process.wait(10)
    try:
        async with asyncio.timeout(5), sqlite() as queue:
            await queue.send(ONE)
    finally:
        os.kill(child, signal.SIGKILL)


# The log


async def test_a_reader_that_pins_the_log_is_warned_of_once(path, sqlite, monkeypatch, caplog):
    monkeypatch.setattr(_file_check, "LARGE_LOG_BYTES", 100_000)
    async with sqlite() as queue:
        await queue.send(ONE)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM dawdle_message").fetchall()
        for _ in range(10):
            await queue.send([Outgoing(b"x" * 50_000)])
        reader.close()
    warned = lines_of(caplog, logging.WARNING)
    assert len(warned) == 1
    assert "a program holds a read transaction open" in warned[0]


@pytest.mark.slow
async def test_the_log_is_small_again_after_a_reader_has_let_go(path, sqlite):
    async with sqlite() as queue:
        await queue.send(ONE)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM dawdle_message").fetchall()
        for _ in range(30):
            await queue.send([Outgoing(b"x" * 500_000)])
        log = path.with_name("app.db-wal")
        assert log.stat().st_size > 12 << 20
        reader.close()
        for _ in range(15):
            await queue.send([Outgoing(b"x" * 500_000)])
        assert log.stat().st_size <= 9 << 20


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ((3, 40, 1), True),
        ((3, 44, 6), False),
        ((3, 45, 0), True),
        ((3, 50, 6), True),
        ((3, 50, 7), False),
        ((3, 51, 2), True),
        ((3, 51, 3), False),
        ((3, 53, 0), False),
    ],
)
def test_the_builds_with_the_wal_reset_bug(version, expected):
    assert _file_check.has_wal_reset_bug(version) is expected


async def test_a_build_with_the_wal_reset_bug_is_told_of_once(sqlite, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(_file_check, "has_wal_reset_bug", lambda version: True)
    async with sqlite() as queue:
        await queue.send(ONE)
    assert ["(WAL-reset)" in line for line in lines_of(caplog, logging.INFO)] == [True]


# Backup


@pytest.mark.slow
@pytest.mark.parametrize("way", ["VACUUM INTO", "backup()"])
async def test_a_backup_while_it_runs_is_whole(sqlite, program, tmp_path, way):
    code = {
        "VACUUM INTO": "sqlite3.connect(path).execute('VACUUM INTO ?', (sys.argv[2],))",
        "backup()": "sqlite3.connect(path).backup(sqlite3.connect(sys.argv[2]))",
    }[way]
    stored = 0
    async with sqlite() as queue:
        for _ in range(5):
            await queue.send([Outgoing(b"before") for _ in range(100)])
        backup = program(f"say('go'); {code}; say('done')", tmp_path / "backup.db")
        assert await asyncio.to_thread(backup.line) == "go"
        done = asyncio.create_task(asyncio.to_thread(backup.line))
        while not done.done():
            await queue.send([Outgoing(b"meanwhile")])
            stored += 1
            await asyncio.sleep(0.001)
        assert done.result() == "done"
        assert (await queue.count()).waiting == 500 + stored
    async with SQLite(tmp_path / "backup.db") as copy:
        assert (await copy.count()).waiting >= 500
    connection = sqlite3.connect(tmp_path / "backup.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_a_queue_knows_the_absolute_path_of_its_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert SQLite("app.db").path == str(tmp_path / "app.db")
    assert not (tmp_path / "app.db").exists()
