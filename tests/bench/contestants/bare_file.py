"""The standard library's sqlite3 and one table: the least that three synced transactions cost."""

import sqlite3

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """No delays, no receive counts, no second process: fifteen lines that anybody writes."""

    package = ""

    def open(self) -> None:
        self._connection = sqlite3.connect(self.directory / "bare.db", isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE message(id INTEGER PRIMARY KEY, taken INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL);"
            "CREATE INDEX message_taken ON message(taken, id)"
        )

    def close(self) -> None:
        self._connection.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        for size in batches(count):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT INTO message(body) VALUES(?)", [(self.text,)] * size)
            self._connection.execute("COMMIT")

    def put_get_ack(self) -> None:
        run = self._connection.execute
        run("INSERT INTO message(body) VALUES(?)", (self.text,))
        ((number, _),) = run(
            "UPDATE message SET taken=1 WHERE id=(SELECT id FROM message WHERE taken=0 ORDER BY id LIMIT 1) "
            "RETURNING id, body"
        ).fetchall()
        run("DELETE FROM message WHERE id=?", (number,))
