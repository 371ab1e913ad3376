"""A worker with a health port, under a load of its own: `python worker.py PORT RATE`, with DAWDLE_* for its queue."""

import asyncio
import random
import sys

import msgspec
from aiohttp import web

import dawdle
from dawdle.cli._stats import Stats


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


@dawdle.on_event(name="shop.handlers.receipts.send_receipt")
async def send_receipt(event: OrderPlaced) -> None:
    await asyncio.sleep(random.uniform(0.001, 0.02))


@dawdle.on_event(name="shop.handlers.shipping.book", retry=dawdle.Retry(max_attempts=3, initial=1))
async def book_shipping(event: OrderPlaced) -> None:
    await asyncio.sleep(0.005)
    if event.order_id.endswith("7"):
        raise ConnectionError("away")


@dawdle.on_event(name="audit")
async def audit(event: object) -> None: ...


stats = Stats(
    "shop.main:app",
    health=lambda: app.health(),  # noqa: PLW0108 - the app comes later
    handlers=lambda: {
        "shop.handlers.receipts.send_receipt": ("OrderPlaced",),
        "shop.handlers.shipping.book": ("OrderPlaced",),
        "audit": ("*",),
        "never.runs": ("Other",),
    },
)
app = dawdle.Dawdle(hooks=[stats])
stats._backends = app.backends


async def main(port: int, rate: float) -> None:
    async def show(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode([stats.snapshot()]), content_type="application/json")

    server = web.Application()
    server.router.add_get("/stats", show)
    runner = web.AppRunner(server)
    async with app:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        number = 0
        while True:
            await asyncio.sleep(0.05)
            batch = [OrderPlaced(f"o-{number + each}") for each in range(int(rate * 0.05))]
            number += len(batch)
            if batch:
                await app.signal_many(batch)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
