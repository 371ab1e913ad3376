"""A thousand orders, two workers, and one of them killed half way: what became of it. Run it: python -m orders.demo."""

import argparse
import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from time import perf_counter

from orders.figures import HANDLERS, Figures
from orders.journal import Run
from orders.places import Place, in_a_file, on_sqs
from orders.programs import START, printed_by, running, web_app
from orders.queues import LEASE
from shop.progress import Steps

WORKERS = 2

PATIENCE = 60
"""Seconds that the client has for its orders, and then the workers until the queue is empty."""

ANSWERED = "orders answered"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait until another process says so; return whether it did in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - no event reaches us from there
                await asyncio.sleep(0.05)
            return True
    return False


class Narrator:
    """Shows how far the demo is, and says what happens to its workers at the moment that it happens."""

    def __init__(self, steps: Steps, figures: Figures) -> None:
        self._steps = steps
        self._figures = figures
        self._killed = False

    def answered(self) -> None:
        self._steps.count(ANSWERED, len(self._figures.signaled))

    def killed(self, worker: Process) -> None:
        self._killed = True
        answered = len(self._figures.signaled)
        self._steps.say(f"{answered:,} orders are answered: worker {worker.pid} is killed with SIGKILL", "bold red")

    def replaced(self, worker: Process) -> None:
        self._steps.say(f"worker {worker.pid} is started in its place")

    def counted(self, run: Run) -> None:
        self._steps.count(run.handler, self._figures.handled[run.handler])
        if self._killed and run.attempt == 1 and run.waited >= LEASE:
            self._killed = False
            self._steps.say(f"the lease of {LEASE} s is over: what the killed worker had in flight runs again", "bold")


async def place_orders(client: Process, stored: set[str], each: Callable[[], Awaitable[object]]) -> None:
    """Collect the ids of the events that the app says it has stored; `each` is called after each of them."""
    async with asyncio.timeout(PATIENCE):
        async for line in printed_by(client):
            stored.add(line.decode().strip())
            await each()
        if await client.wait():
            raise SystemExit("the client failed, and says above why")


async def demo(orders: int, *, sqlite: bool) -> bool:
    """Run everything, place orders, kill a worker, print the figures; return whether nothing is lost."""
    figures = Figures()
    async with AsyncExitStack() as stack:
        where: AbstractAsyncContextManager[Place] = in_a_file() if sqlite else on_sqs()
        place = await stack.enter_async_context(where)
        environment = {
            **place.environment,
            "LOG_LEVEL": "ERROR",
        }  # a hundred failures are meant, and each would be told
        url = await stack.enter_async_context(web_app(environment))
        readers = await stack.enter_async_context(asyncio.TaskGroup())
        steps = stack.enter_context(Steps((ANSWERED, *HANDLERS), orders))
        narrator = Narrator(steps, figures)

        async def start_worker() -> Process:
            command = running("orders.worker", environment=environment, stdout=PIPE)
            worker = await stack.enter_async_context(command)
            readers.create_task(figures.read(printed_by(worker), narrator.counted))
            return worker

        workers = [await start_worker() for _ in range(WORKERS)]

        async def order_answered() -> None:
            narrator.answered()
            if len(figures.signaled) == -(-orders // 2):
                workers[0].kill()  # SIGKILL: it can neither finish nor give back what it has
                narrator.killed(workers[0])
                narrator.replaced(await start_worker())

        if not await until(lambda: place.is_polled_by(WORKERS), START):
            raise SystemExit("the workers did not start")
        began = perf_counter()
        steps.say(f"{WORKERS} workers wait for work, and {orders:,} orders are placed over HTTP")
        client = running("shop.client", url, str(orders), environment=environment, stdout=PIPE)
        await place_orders(await stack.enter_async_context(client), figures.signaled, order_answered)
        placed = perf_counter() - began
        steps.say(f"all {orders:,} orders are answered")
        await until(place.is_empty, PATIENCE)  # what the killed worker had must come back first
        took = perf_counter() - began
        steps.say("the queue is empty")
        used = await place.used(orders)
    print(f"\n{orders:,} orders over HTTP in {placed:.1f} s, all that they lead to in {took:.1f} s\n")
    print(figures.table(used))
    return figures.nothing_lost and len(figures.signaled) == orders


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1000, metavar="N", help="how many; 1000 without it")
    options.add_argument("--sqlite", action="store_true", help="in a SQLite file, without a server")
    asked = options.parse_args()
    sys.exit(not asyncio.run(demo(asked.orders, sqlite=asked.sqlite)))


if __name__ == "__main__":
    main()
