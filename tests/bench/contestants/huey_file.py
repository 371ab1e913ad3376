"""huey's storage in SQLite, synced. It has no ack: what is taken is deleted, and a worker that dies has lost it."""

from huey.storage import SqliteStorage

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """The storage alone, without huey's tasks and consumer."""

    package = "huey"

    def open(self) -> None:
        self._storage = SqliteStorage("bench", filename=str(self.directory / "huey.db"), fsync=True)

    def close(self) -> None:
        self._storage.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        sql, row = "insert into task (queue, data, priority) values (?, ?, 0)", ("bench", self.text.encode())
        for size in batches(count):
            with self._storage.db(commit=True) as cursor:
                cursor.executemany(sql, [row] * size)

    def put_get_ack(self) -> None:
        self._storage.enqueue(self.text.encode())
        assert self._storage.dequeue() is not None
