"""Whatever becomes of a call that stores in the caller's transaction: all of it is in there, or nothing."""

import asyncio
import sqlite3
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from dawdle.abc import Outgoing
from dawdle.errors import BackendError, ConfigurationError

pytestmark = pytest.mark.anyio

aiosqlite = pytest.importorskip("aiosqlite")
sqlalchemy = pytest.importorskip("sqlalchemy")
asyncio_of_it = pytest.importorskip("sqlalchemy.ext.asyncio")

ONE = [Outgoing(b"one", dedup="order-1")]


@pytest.fixture
async def queue(sqlite):
    async with sqlite() as queue:
        yield queue


async def bodies_in(queue):
    return [delivery.body for delivery in await queue.receive(10, 0)]


@pytest.mark.parametrize("step", range(8))
async def test_a_caller_that_is_cancelled_between_two_steps_leaves_all_of_it_or_nothing(queue, path, monkeypatch, step):
    """Else the id would be remembered as stored, and the message would not be."""
    async with aiosqlite.connect(path) as connection:
        execute, steps = connection._execute, iter(range(100))

        async def slow(function, *arguments):
            if next(steps) == step:
                await asyncio.sleep(0.2)
            return await execute(function, *arguments)

        monkeypatch.setattr(connection, "_execute", slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await queue.send_in(connection, ONE)
                await asyncio.sleep(1)  # the step came too late to be cancelled in
        await queue.send_in(connection, ONE)
        await connection.commit()
    assert await bodies_in(queue) == [b"one"]


async def test_an_error_between_two_steps_leaves_nothing_but_what_the_caller_did(queue, path, monkeypatch):
    async with aiosqlite.connect(path) as connection:
        await connection.execute("CREATE TABLE orders(id)")
        await connection.execute("INSERT INTO orders VALUES(1)")
        execute, broken = connection._execute, True

        async def failing(function, *arguments):
            if broken and "INSERT INTO dawdle_message" in str(arguments):
                raise sqlite3.OperationalError("disk I/O error")
            return await execute(function, *arguments)

        monkeypatch.setattr(connection, "_execute", failing)
        with pytest.raises(BackendError):
            await queue.send_in(connection, ONE)
        broken = False
        await queue.send_in(connection, ONE)
        await connection.commit()
        assert [tuple(row) for row in await connection.execute_fetchall("SELECT id FROM orders")] == [(1,)]
    assert await bodies_in(queue) == [b"one"]


async def test_a_connection_of_sqlalchemy_that_commits_each_statement_is_refused(queue, path):
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    with pytest.raises(ConfigurationError, match="commits each statement at once"):
        await queue.send_in(connection, ONE)
    connection.close()
    engine.dispose()
    engine = asyncio_of_it.create_async_engine(f"sqlite+aiosqlite:///{path}", isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        with pytest.raises(ConfigurationError, match="commits each statement at once"):
            await queue.send_in(connection, ONE)
    await engine.dispose()
    assert await bodies_in(queue) == []


@pytest.mark.skipif(sys.version_info < (3, 12), reason="autocommit= is new in Python 3.12")
async def test_a_connection_of_aiosqlite_that_commits_each_statement_is_refused(queue, path):
    async with aiosqlite.connect(path, autocommit=True) as connection:
        with pytest.raises(ConfigurationError, match="commits each statement at once"):
            await queue.send_in(connection, ONE)
    assert await bodies_in(queue) == []


async def test_a_row_factory_of_aiosqlite_does_no_harm(queue, path):
    async with aiosqlite.connect(path) as connection:
        connection.row_factory = lambda cursor, row: {"row": row}
        await queue.send_in(connection, ONE)
        await connection.commit()
    assert await bodies_in(queue) == [b"one"]


async def test_a_transaction_of_another_database_gets_no_statement_of_sqlite(queue):
    sent = []
    other = SimpleNamespace(exec_driver_sql=sent.append, dialect=SimpleNamespace(name="postgresql"))
    with pytest.raises(ConfigurationError, match="the transaction is one of postgresql"):
        await queue.send_in(other, ONE)
    assert sent == []


async def test_what_cannot_be_used_says_why_and_what_to_pass(queue, path):
    closed = sqlite3.connect(path)
    cursor = closed.cursor()
    with pytest.raises(ConfigurationError, match=r"pass cursor\.connection"):
        await queue.send_in(cursor, ONE)
    with ThreadPoolExecutor(1) as thread:
        elsewhere = thread.submit(sqlite3.connect, path).result()
        with pytest.raises(ConfigurationError, match="cannot be used: .*thread.*in the thread that uses it"):
            await queue.send_in(elsewhere, ONE)
        thread.submit(elsewhere.close).result()
    closed.close()
    with pytest.raises(ConfigurationError, match=r"cannot be used: .*closed.*before it is closed"):
        await queue.send_in(closed, ONE)
    unopened = aiosqlite.connect(path)
    with pytest.raises(ConfigurationError, match=r"is not open: write await aiosqlite\.connect"):
        await queue.send_in(unopened, ONE)
    with pytest.raises(ConfigurationError, match="cannot store in the transaction of"):
        await queue.send_in(asyncio_of_it.AsyncSession, ONE)
    with pytest.raises(ConfigurationError, match="the session in transaction= gives no connection"):
        await queue.send_in(sqlalchemy.orm.Session(), ONE)
