"""persist-queue with acks, at its default, which is SQLite's: synced at each commit."""

import time

from persistqueue import SQLiteAckQueue
from persistqueue.serializers import json

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """What is acked stays in its table until `clear_acked_data`, which is not called here."""

    package = "persist-queue"

    def open(self) -> None:
        self._queue = SQLiteAckQueue(str(self.directory), serializer=json)

    def close(self) -> None:
        self._queue.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        row = (json.dumps(self.text), time.time())
        for size in batches(count):
            with self._queue._putter as transaction:
                transaction.executemany(self._queue._sql_insert, [row] * size)
        self._queue.total += count

    def put_get_ack(self) -> None:
        self._queue.put(self.text)
        taken = self._queue.get(block=False, raw=True)
        assert self._queue.ack(id=taken["pqid"]) is not None
