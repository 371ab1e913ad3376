"""A queue that stops in the middle of its second batch, until the test lets it go on. A command gets it by name."""

import asyncio
from pathlib import Path

from dawdle.backends.sqlite import SQLite

__all__ = ["Held"]


class Held(SQLite):
    """`DAWDLE_BACKEND=tests.cli.dead.held.Held`: a file `holding` says that it holds, a file `go-on` ends that."""

    stored = 0

    async def send(self, batch):
        answers = await super().send(batch)
        self.stored += len(batch)
        if self.stored > 150:
            Path("holding").touch()
            while not Path("go-on").exists():
                await asyncio.sleep(0.005)
        return answers
