"""litequeue. It sets `synchronous=NORMAL` and has no option for more: a power cut takes the last commits."""

import time

from litequeue import LiteQueue, uuid7

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """One connection, as it is meant to be used."""

    package = "litequeue"

    def open(self) -> None:
        self._queue = LiteQueue(self.directory / "lite.db")

    def close(self) -> None:
        self._queue.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        sql = f"INSERT INTO {self._queue.table}(data, message_id, status, in_time) VALUES(?, ?, 0, ?)"
        for size in batches(count):
            with self._queue.transaction(mode="IMMEDIATE"):
                self._queue.conn.executemany(sql, ((self.text, str(uuid7()), time.time_ns()) for _ in range(size)))

    def put_get_ack(self) -> None:
        self._queue.put(self.text)
        taken = self._queue.pop()
        assert taken is not None
        assert self._queue.done(taken.message_id, claim_id=taken.claim_id)
