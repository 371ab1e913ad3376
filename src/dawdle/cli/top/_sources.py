"""All that `dawdle top` asks, each at its own pace: one that does not answer takes nothing from the others."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from dawdle import DawdleError
from dawdle.abc import Backend
from dawdle.cli._running import CommandError
from dawdle.cli._worker_port import WorkerPort
from dawdle.cli.top._assembly import picture_of
from dawdle.cli.top._picture import Picture
from dawdle.cli.top._prices import dollars_a_month
from dawdle.cli.top._queues import CountedQueue
from dawdle.cli.top._text import dollars

__all__ = ["Sources", "open_sources"]

EARLY_SECONDS: Final = 0.01

MAX_THREADS: Final = 32
"""Workers that are asked at the same time: those that do not answer keep a thread for two seconds each."""


class Sources:
    """The queues and workers of one command, and what they last said."""

    def __init__(
        self, app: str | None, queues: Sequence[CountedQueue], workers: Sequence[WorkerPort], interval: float
    ) -> None:
        self._app = app
        self._queues = queues
        self._workers = workers
        self._interval = interval
        self._turns = [*map(_Turn, queues), *map(_Turn, workers)]

    def picture(self) -> Picture:
        """Return what is known now."""
        own = self._own_dollars()
        return picture_of(
            time=time.time(),
            app=self._app,
            queues=[each.asked for each in self._queues],
            workers=[each.answer for each in self._workers],
            own_dollars=own,
            own_notes=self._own_notes(own),
        )

    async def ask(self, seconds: float | None = None) -> None:
        """Ask each one whose turn it is, and return when all of them have answered, or after so many seconds.

        One that takes longer goes on: it is not asked again before it has answered.
        """
        # All at the same moment, and not each by a timer of its own: so the process wakes up once for one picture.
        now = time.monotonic()
        for turn in self._turns:
            turn.begin(now, self._period)
        waiting = [turn.task for turn in self._turns if turn.task is not None]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for turn in self._turns:
            turn.end()

    def _period(self, one: CountedQueue | WorkerPort) -> float:
        if isinstance(one, CountedQueue):
            return one.period(self._interval)
        # All workers together are asked as often as one alone would be, so that a fleet costs no more of this CPU.
        return self._interval * len(self._workers)

    async def close(self) -> None:
        """Ask no more, and wait for no answer."""
        tasks = [turn.task for turn in self._turns if turn.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _own_dollars(self) -> float | None:
        found = [
            dollars_a_month(each.requests / each.period(self._interval), each.price)
            for each in self._queues
            if each.price is not None
        ]
        return sum(each or 0 for each in found) if found else None

    def _own_notes(self, own: float | None) -> list[str]:
        if own is None:
            return []
        billed = [each for each in self._queues if each.price is not None]
        requests = sum(each.requests for each in billed)
        seconds = max(each.period(self._interval) for each in billed)
        asked = "question" if requests == 1 else "questions"
        return [
            f"this display asks SQS {requests} {asked} every {seconds:g} s, {dollars(own)} if it runs for a month",
            "OLDEST: SQS does not tell it; WAITED is what the workers saw",
        ]


class _Turn:
    """When one of them is asked next, and the question that it has not answered yet."""

    def __init__(self, one: CountedQueue | WorkerPort) -> None:
        self._one = one
        self._due = 0.0
        self.task: asyncio.Task[None] | None = None

    def begin(self, now: float, period: Callable[[CountedQueue | WorkerPort], float]) -> None:
        """Ask, if it is due; a tick that comes a little early counts as in time."""
        if self.task is None and now >= self._due:
            self._due = now + period(self._one) - EARLY_SECONDS
            self.task = asyncio.create_task(self._one.ask())

    def end(self) -> None:
        """Forget a question that is answered. Raises what no answer is: a mistake in this program."""
        if self.task is not None and self.task.done():
            task, self.task = self.task, None
            task.result()


@asynccontextmanager
async def open_sources(
    app: str | None, backends: Mapping[str, Backend], urls: Sequence[str], interval: float
) -> AsyncGenerator[Sources]:
    """Open the queues that other processes can see, and yield what asks them and the workers.

    Raises `CommandError` where there is nothing to ask.
    """
    shared = {name: backend for name, backend in backends.items() if backend.limits.shared}
    if not shared and not urls:
        raise CommandError(
            f"the {'queue' if len(backends) == 1 else 'queues'} of {app or 'this environment'} "
            f"{'is' if len(backends) == 1 else 'are'} in memory, which no other process can see: name the health ports "
            f"of its workers, --workers http://host:8080"
            + ("" if app else "; or name the app, or the queue by the variables DAWDLE_…")
        )
    async with AsyncExitStack() as stack:
        queues: list[CountedQueue] = []
        for name, backend in shared.items():
            queue = CountedQueue(name, backend)
            try:
                await stack.enter_async_context(backend)
                await backend.prepare_receive()  # SQS finds its dead-letter queue here
            except DawdleError as error:
                if len(shared) == 1 and not urls:
                    raise
                queue.give_up(str(error))
            queues.append(queue)
        workers = list[WorkerPort]()
        stack.callback(_call_each, WorkerPort.close, workers)
        threads = stack.enter_context(ThreadPoolExecutor(min(MAX_THREADS, max(1, len(urls))), "dawdle-top"))
        stack.callback(_call_each, WorkerPort.abort, workers)
        workers += [WorkerPort(url, threads) for url in urls]
        sources = Sources(app, queues, workers, interval)
        try:
            yield sources
        finally:
            await sources.close()


def _call_each(call: Callable[[WorkerPort], None], workers: Sequence[WorkerPort]) -> None:
    for worker in workers:
        call(worker)
