"""Stores messages in a transaction that the caller has open on the same file. Commits and rolls back nothing of it.

What is stored is stored as a whole: it is in a savepoint of its own, and a caller that is cancelled waits for its end.
Else the note that an id is stored could be in the transaction, and the message not.
"""

import asyncio
import os
import sqlite3

from dawdle.backends.sqlite._caller_connection import CallerConnection, connection_of
from dawdle.backends.sqlite._errors import backend_error
from dawdle.backends.sqlite._schema import MIGRATIONS
from dawdle.backends.sqlite._storing import Steps
from dawdle.errors import BackendError, ConfigurationError

__all__ = ["store_in"]


async def store_in(transaction: object, path: str, steps: Steps) -> None:
    """Carry out the steps of `storing` in the caller's transaction on the file at `path`, all of them or none."""
    storing = asyncio.create_task(_store_in(transaction, path, steps), name="dawdle: store in a transaction")
    cancelled: asyncio.CancelledError | None = None
    while not storing.done():
        try:
            await asyncio.wait([storing])
        except asyncio.CancelledError as error:  # the connection is the caller's: it must not go on beside us
            cancelled = error
    if cancelled is not None:
        storing.exception()
        raise cancelled
    storing.result()


async def _store_in(transaction: object, path: str, steps: Steps) -> None:
    try:
        connection = await connection_of(transaction)
        await _require_same_file(connection, path)
        await _begin(connection)
        await _carry_out(connection, steps)
    except (ConfigurationError, BackendError):
        raise
    except Exception as error:
        # SQLAlchemy wraps the error of the driver, and keeps it as `orig`.
        cause = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
        if isinstance(cause, sqlite3.ProgrammingError):  # it is closed, or of another thread
            raise ConfigurationError(
                f"the connection in transaction= cannot be used: {cause} Signal before it is closed, and in the thread "
                f"that uses it"
            ) from error
        if not isinstance(cause, sqlite3.Error):
            raise
        failed = backend_error(cause, path)
        failed.uncertain = False  # whatever became of it is the caller's to commit or to roll back
        raise failed from error


async def _begin(connection: CallerConnection) -> None:
    """Begin the transaction, unless it has begun. Raises `ConfigurationError` where each statement is committed."""
    if await connection.ask("in_transaction"):
        return
    autocommit = await connection.ask("autocommit")  # Python 3.12; -1 is the way of before
    by_hand = autocommit is True or (autocommit is not False and await connection.ask("isolation_level") is None)
    if by_hand:
        raise ConfigurationError(
            "the connection has no transaction open, and commits each statement at once: begin one first "
            "(BEGIN IMMEDIATE), or signal the event without transaction="
        )
    # The driver would begin at the first INSERT. But a savepoint may come first, and would be the transaction itself:
    # its release would commit.
    await connection.execute("BEGIN IMMEDIATE", ())


async def _carry_out(connection: CallerConnection, steps: Steps) -> None:
    await connection.execute("SAVEPOINT dawdle", ())
    try:
        sql, values = next(steps)
        while True:
            sql, values = steps.send(await connection.execute(sql, values))
    except StopIteration:
        await connection.execute("RELEASE dawdle", ())
    except BaseException:
        if await connection.ask("in_transaction"):  # after some errors SQLite has rolled back all of it
            await connection.execute("ROLLBACK TO dawdle", ())
            await connection.execute("RELEASE dawdle", ())
        raise


async def _require_same_file(connection: CallerConnection, path: str) -> None:
    databases = {str(row[1]): str(row[2]) for row in await connection.execute("PRAGMA database_list", ())}
    theirs = databases.get("main", "")
    if not _is_same_file(theirs, path):
        raise ConfigurationError(
            f"the transaction is one of {theirs or 'a database in memory'}, and the queue is in {path}: an event can "
            f"be stored only in a transaction whose main database is the queue's file"
        )
    versions = await connection.execute("SELECT version FROM dawdle_schema", ())
    if [row[0] for row in versions] != [len(MIGRATIONS)]:
        raise ConfigurationError(f"the tables of dawdle in {path} were changed while it was open: restart this process")


def _is_same_file(theirs: str, path: str) -> bool:
    try:
        return os.path.samefile(theirs, path)
    except OSError:  # there is no such file, or it is one in memory
        return False
