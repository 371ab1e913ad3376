"""A queue in a file: an event outlives the process that signaled it. Run: python 06_sqlite.py

the first process has signaled o-1, and dies
the second process handles o-1
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

import dawdle
from dawdle.backends.sqlite import SQLite


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


@dawdle.on_event
async def send_receipt(order: OrderPlaced) -> None:
    print(f"the second process handles {order.order_id}")


async def signal_and_die(path: str) -> None:
    async with dawdle.Dawdle(SQLite(path), start_listener=False):
        await dawdle.signal(OrderPlaced("o-1"))
        print("the first process has signaled o-1, and dies", flush=True)
        os._exit(1)


async def handle(path: Path) -> None:
    async with dawdle.Dawdle(SQLite(path)) as app:
        await app.idle()


if len(sys.argv) == 2:
    asyncio.run(signal_and_die(sys.argv[1]))
else:
    with TemporaryDirectory() as folder:
        queue = Path(folder, "queue.db")
        subprocess.run([sys.executable, __file__, queue], check=False)
        asyncio.run(handle(queue))
