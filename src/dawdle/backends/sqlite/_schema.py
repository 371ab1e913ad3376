"""The tables, their version, and how a file of an older version is brought up to date. Stores no message.

The file may be the user's own database, with other tables in it. So all names begin with `dawdle_`, and the version is
kept in a table: `user_version` and `application_id` belong to the program whose database it is.
"""

import sqlite3
from typing import Final
from uuid import uuid4

from dawdle._log import Log
from dawdle.backends.sqlite._calls import QueueRow
from dawdle.backends.sqlite._lines import line_up
from dawdle.errors import ConfigurationError

__all__ = ["file_id", "migrate", "open_queue"]

_log = Log(__name__)

_FIRST: Final = """
CREATE TABLE dawdle_schema(
  version INTEGER NOT NULL,
  file_id TEXT NOT NULL)                         -- names this file in dead letters, wherever it is mounted

CREATE TABLE dawdle_queue(
  id      INTEGER PRIMARY KEY,
  name    TEXT NOT NULL,
  role    TEXT NOT NULL,                         -- '' or 'dead letters' or 'delayed'
  ordered INTEGER NOT NULL,
  UNIQUE(name, role))

CREATE TABLE dawdle_message(
  id         INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: it is Delivery.key
  queue      INTEGER NOT NULL,
  visible_at INTEGER NOT NULL,                   -- microseconds since 1970: of ready, delayed and leased ones alike
  receives   INTEGER NOT NULL DEFAULT 0,
  stored_at  INTEGER NOT NULL,
  line       INTEGER,                            -- dawdle_line.id, where the queue is ordered
  grp        TEXT,
  body       BLOB NOT NULL)

CREATE INDEX dawdle_message_visible ON dawdle_message(queue, visible_at)

CREATE INDEX dawdle_message_line ON dawdle_message(line) WHERE line IS NOT NULL

CREATE TABLE dawdle_line(                        -- the messages of one group stand in line
  id         INTEGER PRIMARY KEY,
  queue      INTEGER NOT NULL,
  grp        TEXT,                               -- NULL: of one message without a group
  visible_at INTEGER NOT NULL,                   -- when its first message may be received
  UNIQUE(queue, grp))

CREATE INDEX dawdle_line_visible ON dawdle_line(queue, visible_at)

CREATE TABLE dawdle_dedup(
  id        INTEGER PRIMARY KEY,                 -- in the order of time, so the oldest are found without an index
  queue     INTEGER NOT NULL,
  dedup     TEXT NOT NULL,
  stored_at INTEGER NOT NULL,
  UNIQUE(queue, dedup))
"""

# Higher receives first: a message that was released at once comes before those that were stored with it.
_COUNTED_BY_THE_INDEX: Final = """
DROP INDEX dawdle_message_visible

CREATE INDEX dawdle_message_visible ON dawdle_message(queue, visible_at, receives DESC)
"""

# One script for each version, its statements parted by empty lines. It is run on a file of the version before it. None
# is ever changed once it was released: files that it made are in use.
MIGRATIONS: Final[list[str]] = [_FIRST, _COUNTED_BY_THE_INDEX]


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Make the tables, or bring them up to date, in the transaction that is open.

    Raises `ConfigurationError` for a file of a newer version, and for tables with our names that are not ours.
    """
    version = _version_of(connection, path)
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"{path} has version {version} of dawdle's tables, and this dawdle knows {len(MIGRATIONS)}: a newer dawdle "
            f"has opened it; update this one"
        )
    for script in MIGRATIONS[version:]:
        for statement in script.split("\n\n"):
            connection.execute(statement)
    if version == 0:
        connection.execute("INSERT INTO dawdle_schema VALUES(?, ?)", (len(MIGRATIONS), uuid4().hex))
    elif version < len(MIGRATIONS):
        connection.execute("UPDATE dawdle_schema SET version = ?", (len(MIGRATIONS),))


def _version_of(connection: sqlite3.Connection, path: str) -> int:
    names = {
        name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'dawdle!_%' ESCAPE '!'")
    }
    if "dawdle_schema" not in names:
        if names:
            raise ConfigurationError(
                f"{path} has tables that begin with dawdle_ and that dawdle did not make ({', '.join(sorted(names))}): "
                f"rename them, or give dawdle a file of its own"
            )
        return 0
    rows = connection.execute("SELECT version FROM dawdle_schema").fetchall()
    if len(rows) != 1 or not isinstance(rows[0][0], int):
        raise ConfigurationError(f"{path} has a table dawdle_schema without dawdle's version in it: restore a backup")
    return rows[0][0]


def file_id(connection: sqlite3.Connection) -> str:
    """Return the name that the file keeps wherever it is moved to."""
    return str(connection.execute("SELECT file_id FROM dawdle_schema").fetchone()[0])


def open_queue(connection: sqlite3.Connection, path: str, name: str, role: str, *, ordered: bool) -> QueueRow:
    """Return a queue, in the transaction that is open; make it if there is none.

    Raises `ConfigurationError` if it is ordered and should not be, or the other way round, and holds messages.
    """
    found = connection.execute(
        "SELECT id, ordered FROM dawdle_queue WHERE name = ? AND role = ?", (name, role)
    ).fetchone()
    if found is None:
        cursor = connection.execute(
            "INSERT INTO dawdle_queue(name, role, ordered) VALUES(?, ?, ?)", (name, role, ordered)
        )
        assert cursor.lastrowid is not None
        return QueueRow(cursor.lastrowid, name, role, ordered=ordered)
    number, was_ordered = found
    if bool(was_ordered) != ordered:
        holds = connection.execute("SELECT 1 FROM dawdle_message WHERE queue = ? LIMIT 1", (number,)).fetchone()
        if holds is not None:
            raise ConfigurationError(
                f"the queue {name!r} in {path} holds messages that were stored with ordered={bool(was_ordered)}: open "
                f"it so until it is empty, or use another name="
            )
        connection.execute("UPDATE dawdle_queue SET ordered = ? WHERE id = ?", (ordered, number))
    stranded = line_up(connection, number) if ordered else 0
    if stranded:
        _log.warning(
            "put %d messages of the queue %s in %s into the order of their groups: an earlier dawdle had stored them "
            "where an ordered queue does not find them",
            stranded,
            name,
            path,
        )
    return QueueRow(number, name, role, ordered=ordered)
