"""An event stored in the caller's own transaction is stored if and only if that commits."""

import asyncio
import sqlite3
import sys

import pytest

from dawdle.abc import Outgoing, Transactional
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio

ONE = [Outgoing(b"one")]


@pytest.fixture
async def queue(sqlite):
    async with sqlite() as queue:
        yield queue


@pytest.fixture
def connection(path):
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


async def bodies_in(queue):
    return [delivery.body for delivery in await queue.receive(10, 0)]


async def test_it_is_transactional(queue):
    assert isinstance(queue, Transactional)


async def test_a_commit_stores_the_event_with_the_row(queue, connection):
    connection.execute("CREATE TABLE orders(id)")
    connection.execute("INSERT INTO orders VALUES(1)")
    assert await queue.send_in(connection, ONE) == [None]
    assert await bodies_in(queue) == []
    connection.commit()
    assert await bodies_in(queue) == [b"one"]


async def test_a_rollback_stores_nothing(queue, connection):
    await queue.send_in(connection, ONE)
    connection.rollback()
    assert await bodies_in(queue) == []


async def test_a_transaction_that_the_caller_began_itself(queue, path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    await queue.send_in(connection, ONE)
    connection.execute("COMMIT")
    assert await bodies_in(queue) == [b"one"]
    connection.close()


async def test_a_connection_that_commits_each_statement_is_refused(queue, path):
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(ConfigurationError, match="has no transaction open"):
        await queue.send_in(connection, ONE)
    connection.close()
    assert await bodies_in(queue) == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit= is new in Python 3.12")
async def test_the_autocommit_of_python_3_12(queue, path):
    explicit = sqlite3.connect(path, autocommit=False)
    await queue.send_in(explicit, ONE)
    explicit.commit()
    explicit.close()
    assert await bodies_in(queue) == [b"one"]
    none = sqlite3.connect(path, autocommit=True)
    with pytest.raises(ConfigurationError, match="has no transaction open"):
        await queue.send_in(none, ONE)
    none.close()


async def test_a_row_factory_of_the_caller_does_no_harm(queue, connection):
    connection.row_factory = sqlite3.Row
    await queue.send_in(connection, ONE)
    connection.row_factory = lambda cursor, row: {"row": row}
    await queue.send_in(connection, ONE)
    connection.commit()
    assert await bodies_in(queue) == [b"one", b"one"]


async def test_what_is_refused_is_refused_alone(queue, connection):
    good, fault = await queue.send_in(connection, [Outgoing(b"good"), Outgoing(b"x" * (queue.limits.max_body + 1))])
    assert good is None
    assert fault.kind == "refused"
    connection.commit()
    assert await bodies_in(queue) == [b"good"]


async def test_a_transaction_of_another_file_is_an_error(queue, tmp_path):
    for other in (sqlite3.connect(tmp_path / "other.db"), sqlite3.connect(":memory:")):
        with pytest.raises(ConfigurationError, match="the transaction is one of .*, and the queue is in"):
            await queue.send_in(other, ONE)
        other.close()


@pytest.mark.parametrize("wrong", ["a connection", None, object()])
async def test_what_is_no_connection_is_an_error(queue, wrong):
    with pytest.raises(ConfigurationError, match="cannot store in the transaction of"):
        await queue.send_in(wrong, ONE)


async def test_a_file_that_is_locked_is_an_error_that_leaves_the_transaction_alone(queue, path, connection):
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    connection.execute("PRAGMA busy_timeout=0")
    with pytest.raises(BackendError, match="SQLITE_BUSY") as caught:
        await queue.send_in(connection, ONE)
    assert not caught.value.uncertain
    holder.execute("ROLLBACK")
    await queue.send_in(connection, ONE)
    connection.commit()
    assert await bodies_in(queue) == [b"one"]
    holder.close()


async def test_a_receive_that_waits_hears_of_the_commit(queue, connection):
    queue._worker._wake_up.tick = 60.0  # the usual look comes once a second
    waiting = asyncio.create_task(queue.receive(1, 20))
    await asyncio.sleep(0.1)
    await queue.send_in(connection, ONE)
    await asyncio.sleep(0.1)
    loop = asyncio.get_running_loop()
    committed = loop.time()
    connection.commit()
    assert [delivery.body for delivery in await waiting] == [b"one"]
    assert loop.time() - committed < 15


async def test_another_process_hears_of_the_commit(queue, connection, program):
    other = program("""
        async def main():
            async with SQLite(path) as queue:
                for _ in range(5):
                    say("ready")
                    await queue.receive(1, 30)
                    say("got it")
        asyncio.run(main())
    """)
    loop, took = asyncio.get_running_loop(), []
    while not took or (min(took) > 0.7 and len(took) < 5):  # a busy machine may be late now and then, and not each time
        assert await asyncio.to_thread(other.line) == "ready"
        await asyncio.sleep(0.3)
        await queue.send_in(connection, ONE)
        committed = loop.time()
        connection.commit()
        assert await asyncio.to_thread(other.line) == "got it"
        took.append(loop.time() - committed)
    assert min(took) < 0.7


async def test_an_ordered_queue_keeps_the_order(sqlite, path):
    async with sqlite(ordered=True) as queue:
        connection = sqlite3.connect(path)
        await queue.send_in(connection, [Outgoing(b"1", group="a"), Outgoing(b"2", group="a"), Outgoing(b"3")])
        connection.commit()
        connection.close()
        assert sorted(await bodies_in(queue)) == [b"1", b"2", b"3"]


async def test_an_id_that_was_sent_before_is_not_stored_again(queue, connection):
    again = [Outgoing(b"one", dedup="order-1")]
    await queue.send(again)
    await queue.send_in(connection, again)
    connection.commit()
    assert await bodies_in(queue) == [b"one"]


async def test_a_connection_of_aiosqlite(queue, path):
    aiosqlite = pytest.importorskip("aiosqlite")
    async with aiosqlite.connect(path) as connection:
        await queue.send_in(connection, ONE)
        await connection.rollback()
        assert await bodies_in(queue) == []
        await queue.send_in(connection, ONE)
        await connection.commit()
    assert await bodies_in(queue) == [b"one"]


@pytest.mark.parametrize("kind", ["connection", "session", "scoped session"])
async def test_sqlalchemy(queue, path, kind):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    from sqlalchemy import orm

    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    make = {
        "connection": engine.connect,
        "session": lambda: orm.Session(engine),
        "scoped session": orm.scoped_session(orm.sessionmaker(engine)),
    }[kind]
    with make() as transaction:
        await queue.send_in(transaction, ONE)
        transaction.rollback()
        assert await bodies_in(queue) == []
        transaction.execute(sqlalchemy.text("CREATE TABLE orders(id)"))
        await queue.send_in(transaction, ONE)
        transaction.commit()
    assert await bodies_in(queue) == [b"one"]
    with pytest.raises(ConfigurationError, match="cannot store in the transaction of"):
        await queue.send_in(engine, ONE)
    engine.dispose()


@pytest.mark.parametrize("kind", ["connection", "session"])
async def test_sqlalchemy_in_asyncio(queue, path, kind):
    pytest.importorskip("aiosqlite")
    asyncio_of_it = pytest.importorskip("sqlalchemy.ext.asyncio")
    engine = asyncio_of_it.create_async_engine(f"sqlite+aiosqlite:///{path}")
    make = {"connection": engine.connect, "session": lambda: asyncio_of_it.AsyncSession(engine)}[kind]
    async with make() as transaction:
        await queue.send_in(transaction, ONE)
        await transaction.rollback()
        assert await bodies_in(queue) == []
        await queue.send_in(transaction, ONE)
        await transaction.commit()
    assert await bodies_in(queue) == [b"one"]
    await engine.dispose()


async def test_a_locked_file_under_sqlalchemy_is_the_same_error(queue, path):
    sqlalchemy = pytest.importorskip("sqlalchemy")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    engine = sqlalchemy.create_engine(f"sqlite:///{path}", connect_args={"timeout": 0})
    with engine.connect() as transaction, pytest.raises(BackendError, match="SQLITE_BUSY"):
        await queue.send_in(transaction, ONE)
    engine.dispose()
    holder.close()
