"""A thousand orders, two workers, and one of them killed half way: what became of it. Run it: python -m orders.demo."""

import argparse
import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from time import perf_counter

import httpx
import msgspec

from orders.figures import Figures
from orders.programs import START, printed_by, running, sqs, web_app
from orders.queues import LEASE

WORKERS = 2

PATIENCE = 60
"""Seconds that the client has for its orders, and then the workers until the queue is empty."""


class Depth(msgspec.Struct):
    """How many messages a queue holds: those that wait, those that some worker has, and those whose time comes."""

    visible: int
    in_flight: int
    delayed: int


class Server:
    """What the SQS server tells about itself, which SQS does not."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def requests(self) -> dict[str, int]:
        """Return how many there were, by operation."""
        answer = await self._http.get("/_control/requests")
        return msgspec.json.decode(answer.content, type=dict[str, int])

    async def is_polled_by(self, workers: int) -> bool:
        """Whether so many workers receive: each begins with one long poll."""
        return (await self.requests()).get("ReceiveMessage", 0) >= workers

    async def is_empty(self) -> bool:
        """Whether the queue holds nothing, and no worker has anything of it."""
        answer = await self._http.get("/_control/queues")
        depth = msgspec.json.decode(answer.content, type=dict[str, Depth])["orders"]
        return depth == Depth(visible=0, in_flight=0, delayed=0)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> bool:
    """Wait until another process says so; return whether it did in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():  # noqa: ASYNC110 - no event reaches us from there
                await asyncio.sleep(0.05)
            return True
    return False


async def placed_by(client: Process, half: int, half_way: Callable[[], Awaitable[object]]) -> set[str]:
    """Return the ids of the events that the app says it has stored; `half_way` is called when it says so of half."""
    stored: set[str] = set()
    async with asyncio.timeout(PATIENCE):
        async for line in printed_by(client):
            stored.add(line.decode().strip())
            if len(stored) == half:
                await half_way()
        if await client.wait():
            raise SystemExit("the client failed, and says above why")
    return stored


async def demo(orders: int) -> bool:
    """Run everything, place orders, kill a worker, print the figures; return whether nothing is lost."""
    figures = Figures()
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(sqs())
        environment["DAWDLE_BACKEND"] = "orders.queues.with_a_short_lease"
        environment["LOG_LEVEL"] = "ERROR"  # a hundred failures are meant, and each would be told
        url = await stack.enter_async_context(web_app(environment))
        http = httpx.AsyncClient(base_url=environment["AWS_ENDPOINT_URL_SQS"], trust_env=False)
        server = Server(await stack.enter_async_context(http))
        readers = await stack.enter_async_context(asyncio.TaskGroup())

        async def start_worker() -> Process:
            command = running("orders.worker", environment=environment, stdout=PIPE)
            worker = await stack.enter_async_context(command)
            readers.create_task(figures.read(printed_by(worker)))
            return worker

        workers = [await start_worker() for _ in range(WORKERS)]

        async def replace_one() -> None:
            workers[0].kill()  # SIGKILL: it can neither finish nor give back what it has
            await start_worker()

        if not await until(lambda: server.is_polled_by(WORKERS), START):
            raise SystemExit("the workers did not start")
        began = perf_counter()
        client = running("shop.client", url, str(orders), environment=environment, stdout=PIPE)
        figures.signaled |= await placed_by(await stack.enter_async_context(client), -(-orders // 2), replace_one)
        placed = perf_counter() - began
        await until(server.is_empty, PATIENCE)  # what the killed worker had must come back first
        took = perf_counter() - began
        requests = await server.requests()
    print(f"{orders:,} orders over HTTP in {placed:.1f} s, all that they lead to in {took:.1f} s")
    print(f"one of {WORKERS} workers was killed half way, and what it had in flight came back after {LEASE} s\n")
    print(figures.table(requests))
    return figures.nothing_lost and len(figures.signaled) == orders


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1000, metavar="N", help="how many; 1000 without it")
    sys.exit(not asyncio.run(demo(options.parse_args().orders)))


if __name__ == "__main__":
    main()
