"""localqueue, whose transactions are Rust's, at its durable setting."""

from localqueue import DurabilityMode, SimpleQueue

from tests.bench.contestants._blocking_queue import BlockingQueue, batches


class Contestant(BlockingQueue):
    """Synced at each commit."""

    package = "localqueue"
    durability = DurabilityMode.DURABLE

    def open(self) -> None:
        self._queue: SimpleQueue[str] = SimpleQueue(str(self.directory), durability=self.durability)

    def close(self) -> None:
        self._queue.close()

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        for size in batches(count):
            self._queue.put_many([self.text] * size)

    def put_get_ack(self) -> None:
        self._queue.put(self.text)
        self._queue.ack(self._queue.get(block=False))
