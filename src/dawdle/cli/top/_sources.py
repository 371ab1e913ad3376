"""All that `dawdle top` asks, each at its own pace: one that does not answer takes nothing from the others."""

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from operator import is_
from typing import Final, Protocol

import msgspec

from dawdle import DawdleError
from dawdle.abc import Backend
from dawdle.backends.sqs import SQS
from dawdle.cli._app import require_file
from dawdle.cli._running import CommandError
from dawdle.cli._worker_port import Threads, WorkerPort
from dawdle.cli.top._assembly import Asked, picture_of
from dawdle.cli.top._fleet import Fleet
from dawdle.cli.top._picture import Picture
from dawdle.cli.top._prices import CLOUDWATCH_DOLLARS, dollars_a_month
from dawdle.cli.top._queues import CountedQueue
from dawdle.cli.top._text import dollars
from dawdle.cli.top._turns import Source, Turns

__all__ = ["Sources", "open_sources"]

MAX_THREADS: Final = 32
"""Workers that are asked at the same time: those that do not answer keep a thread for two seconds each."""


class Age(Source, Protocol):
    """What knows how old the oldest message of a queue is, where the queue does not."""

    name: str
    oldest: float | None
    note: str | None


class Sources:
    """The queues and workers of one command, and what they last said."""

    def __init__(
        self,
        app: str | None,
        queues: Sequence[CountedQueue],
        workers: Sequence[WorkerPort],
        ages: Sequence[Age],
        interval: float,
    ) -> None:
        self._app = app
        self._queues = queues
        self._workers = workers
        self._interval = interval
        self._answers = [each.answer for each in workers]
        self._fleet = Fleet(self._answers)
        self._ages = {each.name: each for each in ages}
        self._turns = Turns([*queues, *workers, *ages], interval)

    def picture(self) -> Picture:
        """Return what is known now."""
        answers = [each.answer for each in self._workers]
        # To add up many workers takes longer than to draw, and most pictures show what the last one did of them.
        if not all(map(is_, answers, self._answers)):
            self._answers, self._fleet = answers, Fleet(answers)
        own = self._own_dollars()
        return picture_of(
            time=time.time(),
            app=self._app,
            queues=[self._with_age(each.asked) for each in self._queues],
            fleet=self._fleet,
            own_dollars=own,
            own_notes=self._own_notes(own),
        )

    async def ask(self, seconds: float | None = None) -> None:
        """Ask each one whose turn it is, and return when all of them have answered, or after so many seconds."""
        await self._turns.ask(seconds)

    async def close(self) -> None:
        """Ask no more, and wait for no answer."""
        await self._turns.close()

    def _with_age(self, asked: Asked) -> Asked:
        age = self._ages.get(asked.name)
        return asked if age is None else msgspec.structs.replace(asked, oldest=age.oldest)

    def _own_dollars(self) -> float | None:
        """Return what the requests of this command cost in a month; None: they are not billed."""
        billed = [each for each in self._queues if each.price is not None]
        if not billed:
            return None
        counts = [dollars_a_month(each.requests / each.period(self._interval), each.price) for each in billed]
        ages = [dollars_a_month(1 / each.period(self._interval), CLOUDWATCH_DOLLARS) for each in self._ages.values()]
        return sum(each or 0 for each in (*counts, *ages))

    def _own_notes(self, own: float | None) -> list[str]:
        billed = [each for each in self._queues if each.price is not None]
        requests = sum(each.requests for each in billed)
        if not requests:
            return []
        seconds = max(each.period(self._interval) for each in billed)
        asked = "question" if requests == 1 else "questions"
        also = ", and CloudWatch once a minute" if self._ages else ""
        notes = [
            f"this display asks SQS {requests} {asked} every {seconds:g} s{also}: {dollars(own)} if it runs for a month"
        ]
        if not self._ages:
            return [*notes, "OLDEST: SQS does not tell it, CloudWatch does: --cloudwatch. WAITED is what workers saw"]
        return notes + [each.note for each in self._ages.values() if each.note is not None]


@asynccontextmanager
async def open_sources(
    app: str | None,
    backends: Mapping[str, Backend],
    urls: Sequence[str],
    interval: float,
    *,
    ask_cloudwatch: bool = False,
) -> AsyncGenerator[Sources]:
    """Open the queues that other processes can see, and yield what asks them and the workers.

    Raises `CommandError` where there is nothing to ask.
    """
    shared = {name: backend for name, backend in backends.items() if backend.limits.shared}
    if not shared and not urls:
        raise CommandError(_nothing_to_ask(app, len(backends)))
    on_sqs = {name: backend for name, backend in shared.items() if isinstance(backend, SQS)} if ask_cloudwatch else {}
    if ask_cloudwatch and not on_sqs:
        raise CommandError("--cloudwatch is for queues on SQS, and none of these is one: leave it out")
    async with AsyncExitStack() as stack:
        queues = [
            await _open_queue(name, backend, stack, is_all=len(shared) == 1 and not urls)
            for name, backend in shared.items()
        ]
        ages = [await stack.enter_async_context(_open_age(name, backend)) for name, backend in on_sqs.items()]
        workers = list[WorkerPort]()
        stack.callback(_call_each, WorkerPort.close, workers)
        threads = stack.enter_context(Threads(min(MAX_THREADS, max(1, len(urls)))))
        stack.callback(_call_each, WorkerPort.abort, workers)
        workers += [WorkerPort(url, threads, of=len(urls)) for url in urls]
        sources = Sources(app, queues, workers, ages, interval)
        try:
            yield sources
        finally:
            await sources.close()


async def _open_queue(name: str, backend: Backend, stack: AsyncExitStack, *, is_all: bool) -> CountedQueue:
    """Open a queue. An error is raised if it `is_all` there is to see; else it is shown in the queue's place."""
    queue = CountedQueue(name, backend)
    try:
        require_file(backend)
        await stack.enter_async_context(backend)
    except (CommandError, DawdleError) as error:
        if is_all:
            raise
        queue.give_up(str(error))
    return queue


def _open_age(name: str, queue: SQS) -> AbstractAsyncContextManager[Age]:
    from dawdle.cli.top._cloudwatch import open_age  # noqa: PLC0415 - it loads AWS code, which takes half a second

    return open_age(name, queue)


def _nothing_to_ask(app: str | None, count: int) -> str:
    queues = "queue" if count == 1 else "queues"
    are = "is" if count == 1 else "are"
    else_ = "" if app else "; or name the app, or the queue by the variables DAWDLE_…"
    return (
        f"the {queues} of {app or 'this environment'} {are} in memory, which no other process can see: name the health "
        f"ports of its workers, --workers http://host:8080{else_}"
    )


def _call_each(call: Callable[[WorkerPort], None], workers: Sequence[WorkerPort]) -> None:
    for worker in workers:
        call(worker)
