"""simplebroker, at its default, which syncs. To claim moves to a second queue, and to ack deletes there."""

from simplebroker import Queue

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """Persistent connections, its faster way."""

    package = "simplebroker"

    def open(self) -> None:
        path = str(self.directory / "broker.db")
        self._queue = Queue("bench", db_path=path, persistent=True)
        self._claimed = Queue("claimed", db_path=path, persistent=True)

    def close(self) -> None:
        self._queue.close()
        self._claimed.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        first = self._queue.generate_timestamp() - (count + 1) * 1000
        for size in batches(count):
            self._queue.insert_messages([(self.text, first + number * 1000) for number in range(size)])
            first += size * 1000

    def put_get_ack(self) -> None:
        self._queue.write(self.text)
        taken = self._queue.move_one(self._claimed, with_timestamps=True)
        assert taken is not None
        _, number = taken
        assert self._claimed.delete(message_id=number)
