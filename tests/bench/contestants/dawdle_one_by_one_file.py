"""dawdle's queue in a SQLite file, by one task that waits for each call: nothing shares a transaction."""

import time

from dawdle.abc import Outgoing
from tests.bench.contestants import dawdle_file


class Contestant(dawdle_file.Contestant):
    """Three calls for each message."""

    async def run(self, until: float) -> int:
        events = 0
        while time.perf_counter() < until:
            await self._queue.send([Outgoing(self._body)])
            (taken,) = await self._queue.receive(1, 20)
            await self._queue.ack([taken.receipt])
            events += 1
        return events
