"""Stores messages in a transaction that the caller has open on the same file. Commits and rolls back nothing.

No driver is imported: which one a connection is of is told by what it can do.
"""

import os
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import Any, cast

from dawdle.backends.sqlite._errors import backend_error
from dawdle.backends.sqlite._schema import MIGRATIONS
from dawdle.backends.sqlite._storing import Steps
from dawdle.errors import BackendError, ConfigurationError, shown

__all__ = ["store_in"]

Rows = Sequence[Sequence[Any]]
Execute = Callable[[str, Sequence[object]], Awaitable[Rows]]


async def store_in(transaction: object, path: str, steps: Steps) -> None:
    """Carry out the steps of `storing` in the caller's transaction on the file at `path`."""
    execute = await _driver_of(transaction)
    try:
        await _require_same_file(execute, path)
        sql, values = next(steps)
        while True:
            sql, values = steps.send(await execute(sql, values))
    except StopIteration:
        return
    except (ConfigurationError, BackendError):
        raise
    except Exception as error:
        # SQLAlchemy wraps the error of the driver, and keeps it as `orig`.
        cause = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
        if not isinstance(cause, sqlite3.Error):
            raise
        failed = backend_error(cause, path)
        failed.uncertain = False  # whatever became of it is the caller's to commit or to roll back
        raise failed from error


async def _driver_of(transaction: Any) -> Execute:
    """Return a function that executes a statement in the caller's transaction, and returns its rows."""
    if isinstance(transaction, sqlite3.Connection):
        _require_transaction(transaction)
        return _by_sqlite3(transaction)
    if hasattr(transaction, "execute_fetchall") and hasattr(transaction, "in_transaction"):  # aiosqlite
        _require_transaction(transaction)
        return cast("Execute", transaction.execute_fetchall)
    connection = transaction
    if not hasattr(connection, "exec_driver_sql") and callable(getattr(connection, "connection", None)):
        connection = connection.connection()  # of a session of SQLAlchemy; it begins its transaction here
        if isawaitable(connection):
            connection = await connection
    if hasattr(connection, "exec_driver_sql"):
        return _by_sqlalchemy(connection)
    raise ConfigurationError(
        f"cannot store in the transaction of {shown(transaction)}: pass a sqlite3.Connection, an aiosqlite.Connection, "
        f"or a Connection, Session, AsyncConnection or AsyncSession of SQLAlchemy"
    )


def _by_sqlite3(connection: sqlite3.Connection) -> Execute:
    async def execute(sql: str, values: Sequence[object]) -> Rows:
        cursor = connection.cursor()
        cursor.row_factory = None  # the caller's may make anything of a row
        return cursor.execute(sql, values).fetchall()

    return execute


def _by_sqlalchemy(connection: Any) -> Execute:
    async def execute(sql: str, values: Sequence[object]) -> Rows:
        result = connection.exec_driver_sql(sql, tuple(values))
        if isawaitable(result):
            result = await result
        return cast("Rows", result.fetchall() if result.returns_rows else [])

    return execute


def _require_transaction(connection: Any) -> None:
    """Raise `ConfigurationError` where a statement would be committed at once."""
    begins_by_itself = connection.isolation_level is not None
    autocommit = getattr(connection, "autocommit", None)  # Python 3.12; -1 is the way of before
    if autocommit in {True, False} and autocommit != -1:
        begins_by_itself = not autocommit
    if not begins_by_itself and not connection.in_transaction:
        raise ConfigurationError(
            "the connection has no transaction open, and commits each statement at once: begin one first "
            "(BEGIN IMMEDIATE), or signal the event without transaction="
        )


async def _require_same_file(execute: Execute, path: str) -> None:
    databases = {str(row[1]): str(row[2]) for row in await execute("PRAGMA database_list", ())}
    theirs = databases.get("main", "")
    if not _is_same_file(theirs, path):
        raise ConfigurationError(
            f"the transaction is one of {theirs or 'a database in memory'}, and the queue is in {path}: an event can "
            f"be stored only in a transaction whose main database is the queue's file"
        )
    versions = await execute("SELECT version FROM dawdle_schema", ())
    if [row[0] for row in versions] != [len(MIGRATIONS)]:
        raise ConfigurationError(f"the tables of dawdle in {path} were changed while it was open: restart this process")


def _is_same_file(theirs: str, path: str) -> bool:
    try:
        return os.path.samefile(theirs, path)
    except OSError:  # there is no such file, or it is one in memory
        return False
