"""The network: connections that are reset and refused, and a server that accepts and does not respond."""

import asyncio
import random
import time

from dawdle.backends.sqs import SQS
from tests.faults.apps import OrderPlaced, Watched
from tests.faults.proxy import Proxy
from tests.faults.rig import QueuePair, Rig, rig, signal_all, until
from tests.faults.row import Figures, Scale, row

LONGEST_BACKOFF = 30.0
"""Seconds between two receives while the network is down; full jitter below that."""

CALL = 10.0
"""Seconds that a call waits for its response, beyond the wait of a long poll."""


@row(7, "real", "TCP reset and refusal for 30 s, ×20", must="first receive ≤ the longest back-off after")
def cut_and_refused(scale: Scale) -> Figures:
    """20 apps side by side, each through a proxy of its own that turns from one to the other all the time."""
    figures, count, outage = Figures(), scale.of(20), max(3.0, 30 * scale.share)

    async def one(on: Rig, pair: QueuePair) -> tuple[float, Watched]:
        async with Proxy(on.server) as proxy:
            watched = Watched(SQS(proxy.url(pair.url), lease=30, wait=1))
            async with watched.app:
                await watched.app.signal(OrderPlaced(1))
                if await until(lambda: len(watched.handled) == 1, 10) is None:
                    raise TimeoutError("it did not work before anything was broken")
                end = time.monotonic() + outage
                mode = random.choice(["reset", "refuse"])
                while (left := end - time.monotonic()) > 0:
                    await proxy.turn(mode)
                    mode = "refuse" if mode == "reset" else "reset"
                    await asyncio.sleep(min(left, random.uniform(0.5, 8)))
                failures = len(watched.failed)
                await proxy.turn("pass")
                whole = time.monotonic()
                await signal_all(pair.url, [OrderPlaced(2)])
                await until(lambda: len(watched.handled) == 2, LONGEST_BACKOFF + 5)
                if failures == 0:
                    figures.failed("no receive failed: nothing was tried")
        watched.left(figures)
        if sorted(watched.runs.values()) != [1, 1]:
            figures.failed(f"{pair.name}: runs of each event: {sorted(watched.runs.values())}")
        return watched.first_receive_after(whole) or 99.0, watched

    async def all_of_them(on: Rig, pairs: list[QueuePair]) -> list[tuple[float, Watched]]:
        return await asyncio.gather(*(one(on, pair) for pair in pairs))

    with rig(scale) as on:
        pairs = [on.pair() for _ in range(count)]
        found = asyncio.run(all_of_them(on, pairs))
        slowest = max(seconds for seconds, _ in found)
        figures.note("outages", len(found))
        figures.note("failed receives", sum(len(watched.failed) for _, watched in found))
        figures.must("slowest first receive", slowest, slowest <= LONGEST_BACKOFF + 1, f"≤ {LONGEST_BACKOFF:g} s")
        on.drained(figures, *(pair.url for pair in pairs))
    return figures


@row(8, "real", "a server that accepts and says nothing", must="unhealthy ≤ 60 s, recovers alone")
def silent(scale: Scale) -> Figures:
    """A server does not respond until the app reports itself unhealthy; polls are of 1 s."""
    figures = Figures()

    async def go(on: Rig, pair: QueuePair) -> None:
        async with Proxy(on.server) as proxy:
            watched = Watched(SQS(proxy.url(pair.url), lease=30, wait=1), concurrency=20)
            async with watched.app as app:
                await app.signal(OrderPlaced(1))
                await until(lambda: len(watched.handled) == 1, 10)
                figures.must("healthy before", app.health().healthy, app.health().healthy)
                await proxy.turn("swallow")
                took = await until(lambda: not app.health().healthy, 65)
                figures.must("unhealthy after", took, took is not None and took <= 61, "≤ 60 s")
                figures.note("reason", "; ".join(app.health().reasons))
                await signal_all(pair.url, [OrderPlaced(2)])
                await proxy.turn("pass")
                took = await until(lambda: len(watched.handled) == 2 and app.health().healthy, 60)
                longest = LONGEST_BACKOFF + 1 + CALL
                figures.must("well after", took, took is not None and took <= longest, f"≤ {longest:g} s")
        watched.left(figures)

    with rig(scale) as on:
        pair = on.pair()
        asyncio.run(go(on, pair))
        on.drained(figures, pair.url)
    return figures
