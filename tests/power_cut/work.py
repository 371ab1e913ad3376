"""A program that sends, receives and acks, and writes into the journal what it asked for and what it was told.

    python -m tests.power_cut.work PATH NAME SEED DURABILITY MESSAGES

It is run with journal.c preloaded. Where it says `stored x` or `acked x`, the backend has answered so.
"""

import asyncio
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from dawdle.errors import BackendError, ConfigurationError
from tests.power_cut.disk import text

SIZES = (10, 300, 300, 300, 3_000, 20_000)
MOST = 40
"""Sends between two openings of the file."""


class Work:
    def __init__(self, path: str, name: str, seed: int, durability: str, messages: int) -> None:
        self.path = path
        self.name = name
        self.random = Random(seed)
        self.durability = durability
        self.left = messages
        self.sent = 0
        self._journal = os.open(os.environ["POWER_CUT_JOURNAL"], os.O_WRONLY | os.O_APPEND)

    def say(self, what: str, names: list[str]) -> None:
        for name in names:
            os.write(self._journal, text(f"{what} {name}"))

    async def run(self) -> None:
        while self.left > 0:
            with self.failing_syncs():  # the file is opened and closed meanwhile too
                async with SQLite(self.path, durability=self.durability, lease=self.random.choice([0.2, 30])) as queue:
                    await self.use(queue)
            await asyncio.sleep(self.random.choice([0, 0, 0.02]))

    async def use(self, queue: SQLite) -> None:
        rest = MOST
        async with asyncio.TaskGroup() as group:
            receivers = [group.create_task(self.receive(queue)) for _ in range(2)]
            async with asyncio.TaskGroup() as senders:
                for _ in range(6):
                    senders.create_task(self.send(queue, rest // 6))
            await asyncio.sleep(self.random.choice([0, 0.1]))  # alone, receives need no sync
            for receiver in receivers:
                receiver.cancel()

    @contextmanager
    def failing_syncs(self) -> Iterator[None]:
        """Let what a failed sync does to a call pass, where syncs fail at times. An app would try again."""
        try:
            yield
        except (BackendError, ConfigurationError) as error:
            if "POWER_CUT_FAILS" not in os.environ or not re.search("SQLITE_IOERR|not be written again", str(error)):
                raise

    async def send(self, queue: SQLite, times: int) -> None:
        for _ in range(times):
            names = [f"{self.name}-{self.sent + number}" for number in range(self.random.randint(1, 5))]
            self.sent += len(names)
            self.left -= len(names)
            batch = [
                Outgoing(name.encode().ljust(self.random.choice(SIZES)), delay=self.random.choice([0, 0, 0, 60]))
                for name in names
            ]
            self.say("send", names)
            with self.failing_syncs():
                answers = await queue.send(batch)
                self.say("stored", [name for name, fault in zip(names, answers, strict=True) if fault is None])

    async def receive(self, queue: SQLite) -> None:
        while True:
            with self.failing_syncs():
                await self.receive_once(queue)

    async def receive_once(self, queue: SQLite) -> None:
        found = await queue.receive(self.random.randint(1, 20), 1)
        done = [each for each in found if self.random.random() < 0.7]
        rest = [each.receipt for each in found if each not in done]
        if rest and self.random.random() < 0.5:
            await queue.renew(rest)
            await queue.release([(receipt, self.random.choice([0, 0.02])) for receipt in rest])
        if done:
            names = [each.body.decode().strip() for each in done]
            self.say("ack", names)
            answers = await queue.ack([each.receipt for each in done])
            self.say("acked", [name for name, fault in zip(names, answers, strict=True) if fault is None])


if __name__ == "__main__":
    path, name, seed, durability, messages = sys.argv[1:]
    asyncio.run(Work(path, name, int(seed), durability, int(messages)).run())
