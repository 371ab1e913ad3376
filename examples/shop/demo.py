"""A thousand orders over HTTP, and what became of them. Run it: python -m shop.demo."""

import argparse
import asyncio
import contextlib
import logging
import socket
import sys
import time

import uvicorn

import dawdle
from dawdle.backends.memory import Memory
from shop import handlers
from shop.app import make_shop
from shop.figures import WANTS, Figures
from shop.progress import Steps

PATIENCE = 60
"""Seconds that the handlers have when the last order is placed."""

REFRESH = 0.1
"""Seconds between two looks at how far the handlers are."""


async def place_orders(url: str, count: int) -> set[str]:
    """Run the client and return the ids of the events that the shop says it has stored."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "shop.client", url, str(count), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await client.communicate()
    if client.returncode:
        raise SystemExit("the client failed, and says above why")
    return set(printed.decode().split())


async def show(figures: Figures, steps: Steps) -> None:
    """Move the bars until all is done."""
    while not figures.all_done.is_set():
        for handler in WANTS:
            steps.count(handler, figures.handled[handler])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(figures.all_done.wait(), REFRESH)


async def demo(orders: int) -> bool:
    """Serve the shop, place orders, wait until all is done, print the figures; return whether they are flawless."""
    figures = Figures(orders)
    shop = make_shop(dawdle.Dawdle(Memory(), hooks=[figures.watch]))
    server = uvicorn.Server(uvicorn.Config(shop, log_level="warning"))
    with socket.socket(proto=socket.IPPROTO_TCP) as door:  # unnamed, asyncio would leave Nagle's delay on
        door.bind(("127.0.0.1", 0))
        door.listen()
        serving = asyncio.create_task(server.serve(sockets=[door]))
        began = time.perf_counter()
        with Steps(WANTS, orders) as steps:
            showing = asyncio.create_task(show(figures, steps))
            steps.say(f"{orders:,} orders are placed over HTTP")
            figures.signaled["OrderPlaced"] |= await place_orders(f"http://127.0.0.1:{door.getsockname()[1]}", orders)
            placed = time.perf_counter() - began
            steps.say(f"all {orders:,} orders are answered")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(showing, PATIENCE)
            took = time.perf_counter() - began
            steps.say("every handler is done" if figures.all_done.is_set() else "some handlers are not done")
        server.should_exit = True
        await serving
    print(f"\n{orders:,} orders over HTTP in {placed:.1f} s, all that they lead to in {took:.1f} s\n")
    print(figures.table(handlers.waits))
    return figures.flawless


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--orders", type=int, default=1000, metavar="N", help="how many; 1000 without it")
    options.add_argument("--memory", action="store_true", help="queue in memory, as it is without it")
    logging.getLogger("dawdle").setLevel(logging.ERROR)  # two thousand failures are meant, and each would be told
    sys.exit(not asyncio.run(demo(options.parse_args().orders)))


if __name__ == "__main__":
    main()
