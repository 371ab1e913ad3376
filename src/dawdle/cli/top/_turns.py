"""When each source is asked: again when it is due, and not before it has answered. Knows no source."""

import asyncio
import time
from collections.abc import Iterable
from typing import Final, Protocol

__all__ = ["Source", "Turns"]

EARLY_SECONDS: Final = 0.01
"""How much too early a question may be asked: a tick is never exactly in time, and one that is skipped is seen."""


class Source(Protocol):
    """What can be asked. It keeps the answer itself, and an error is one."""

    async def ask(self) -> None:
        """Ask once."""
        ...

    def period(self, interval: float) -> float:
        """Return the seconds until the next question, where a person wants a picture each `interval`."""
        ...


class Turns:
    """Sources, and the questions that they have not answered yet."""

    def __init__(self, sources: Iterable[Source], interval: float) -> None:
        self._interval = interval
        self._due = dict.fromkeys(sources, 0.0)
        self._open: dict[Source, asyncio.Task[None]] = {}

    async def ask(self, seconds: float | None = None) -> None:
        """Ask each one whose turn it is, and return when all of them have answered, or after so many seconds.

        One that takes longer goes on. Raises what no answer is: a mistake in this program.
        """
        # All at the same moment, and not each by a timer of its own: so the process wakes up once for one picture.
        now = time.monotonic()
        for source, due in self._due.items():
            if now >= due and source not in self._open:
                self._due[source] = now + source.period(self._interval) - EARLY_SECONDS
                self._open[source] = asyncio.create_task(source.ask())
        if self._open:
            await asyncio.wait(self._open.values(), timeout=seconds)
        for source in [source for source, task in self._open.items() if task.done()]:
            self._open.pop(source).result()

    async def close(self) -> None:
        """Ask no more, and wait for no answer."""
        for task in self._open.values():
            task.cancel()
        if self._open:
            await asyncio.wait(self._open.values())
