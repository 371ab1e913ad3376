"""The caller's connection, of whichever driver: executes statements in the transaction that it has open.

No driver is imported: which one a connection is of is told by what it can do. Below each of them is a connection of
`sqlite3`, and that says whether a transaction is open, and whether statements are committed one by one.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, NamedTuple, cast

from dawdle.errors import ConfigurationError, shown

__all__ = ["CallerConnection", "Rows", "connection_of"]

Rows = Sequence[Sequence[Any]]
Execute = Callable[[str, Sequence[object]], Awaitable[Rows]]
Ask = Callable[[str], Awaitable[Any]]


class CallerConnection(NamedTuple):
    """A connection with its transaction."""

    execute: Execute
    """Executes a statement in the transaction, and returns its rows."""
    ask: Ask
    """Returns an attribute of the `sqlite3.Connection`, read in its own thread; None where it has none."""


async def connection_of(transaction: Any) -> CallerConnection:
    """Return the connection that was passed as `transaction=`. Raises `ConfigurationError` for what is none."""
    if isinstance(transaction, sqlite3.Connection):
        return _by_sqlite3(transaction)
    if isinstance(transaction, sqlite3.Cursor):
        raise ConfigurationError("transaction= is a connection, not a cursor: pass cursor.connection")
    if not isinstance(transaction, type):
        kind = cast("type[object]", type(transaction))
        if hasattr(kind, "execute_fetchall") and hasattr(kind, "in_transaction"):
            return _by_aiosqlite(transaction)
        connection = await _of_sqlalchemy(transaction)
        if connection is not None:
            return _by_sqlalchemy(connection)
    raise ConfigurationError(
        f"cannot store in the transaction of {shown(transaction)}: pass a sqlite3.Connection, an aiosqlite.Connection, "
        f"or a Connection, Session, AsyncConnection or AsyncSession of SQLAlchemy"
    )


def _by_sqlite3(connection: sqlite3.Connection) -> CallerConnection:
    async def execute(sql: str, values: Sequence[object]) -> Rows:
        return _fetch(connection, sql, values)

    async def ask(name: str) -> Any:
        return getattr(connection, name, None)

    return CallerConnection(execute, ask)


def _by_aiosqlite(connection: Any) -> CallerConnection:
    """Use an `aiosqlite.Connection`, whose `sqlite3.Connection` is used in a thread of its own."""
    try:
        below = connection._conn
    except ValueError as error:
        raise ConfigurationError(
            "the aiosqlite.Connection in transaction= is not open: write await aiosqlite.connect(), and signal before "
            "it is closed"
        ) from error

    async def execute(sql: str, values: Sequence[object]) -> Rows:
        return cast("Rows", await connection._execute(_fetch, below, sql, values))

    async def ask(name: str) -> Any:
        return await connection._execute(getattr, below, name, None)

    return CallerConnection(execute, ask)


def _fetch(connection: sqlite3.Connection, sql: str, values: Sequence[object]) -> Rows:
    cursor = connection.cursor()
    cursor.row_factory = None  # the caller's may make anything of a row
    return cursor.execute(sql, values).fetchall()


async def _of_sqlalchemy(transaction: Any) -> Any:
    """Return the connection of SQLAlchemy's, or of a session of it, which begins its transaction here; or None."""
    connection = transaction
    if not hasattr(connection, "exec_driver_sql") and callable(getattr(connection, "connection", None)):
        try:
            connection = connection.connection()
            if isawaitable(connection):
                connection = await connection
        except Exception as error:
            if getattr(error, "orig", None) is not None:  # the database's own answer
                raise
            raise ConfigurationError(f"the session in transaction= gives no connection: {error}") from error
    if not hasattr(connection, "exec_driver_sql"):
        return None
    dialect = str(connection.dialect.name)
    if dialect != "sqlite":
        raise ConfigurationError(
            f"the transaction is one of {dialect}, and the queue is in a file of SQLite: an event can be stored only "
            f"in a transaction of the queue's file"
        )
    return connection


def _by_sqlalchemy(connection: Any) -> CallerConnection:
    async def execute(sql: str, values: Sequence[object]) -> Rows:
        result = connection.exec_driver_sql(sql, tuple(values))
        if isawaitable(result):
            result = await result
        return cast("Rows", result.fetchall() if result.returns_rows else [])

    async def ask(name: str) -> Any:
        driver = getattr(connection, "sync_connection", connection).connection.driver_connection
        below = _by_sqlite3(driver) if isinstance(driver, sqlite3.Connection) else _by_aiosqlite(driver)
        return await below.ask(name)

    return CallerConnection(execute, ask)
