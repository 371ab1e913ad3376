"""Places orders, of which each third fails once after it has written, and counts what is in the database then.

python -m unit_of_work.demo --orders 30
"""

import argparse
import asyncio
import logging
from collections import Counter
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import func, select

import dawdle
from dawdle.backends.memory import Memory
from dawdle.hooks import HandlerFinished, Signaled
from unit_of_work.app import OrderPlaced, registry
from unit_of_work.database import Database, Notice, Parcel, open_database


async def main(orders: int, path: Path) -> None:
    """Place orders, wait until each has its notice, and print the counts."""
    counts: Counter[str] = Counter()
    all_done = asyncio.Event()

    def count(moment: object) -> None:
        if isinstance(moment, HandlerFinished):
            counts[f"{moment.handler} {moment.outcome}"] += 1
            if counts["send_notice done"] == orders:
                all_done.set()
        elif isinstance(moment, Signaled):
            counts[f"signaled {moment.event_type}"] += 1

    def lifespan(app: dawdle.Dawdle) -> AbstractAsyncContextManager[Database]:
        return open_database(path)

    async with dawdle.Dawdle(Memory(), registry=registry, lifespan=lifespan, hooks=[count]) as app:
        await app.signal_many([OrderPlaced(f"o-{number}", number) for number in range(orders)])
        async with asyncio.timeout(60):
            await all_done.wait()
        await app.idle()
    async with open_database(path) as database, database.sessions() as session:
        for table in (Parcel, Notice):
            rows = await session.scalar(select(func.count()).select_from(table))
            print(f"{table.__tablename__:24} {rows}")
        retried = await session.scalar(select(func.count()).select_from(Parcel).where(Parcel.attempt > 1))
    print(f"{'of a second attempt':24} {retried}")
    for name, number in sorted(counts.items()):
        print(f"{name:24} {number}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=30)
    logging.getLogger("dawdle").setLevel(logging.ERROR)  # each roll-back is a warning
    with TemporaryDirectory() as folder:
        asyncio.run(main(parser.parse_args().orders, Path(folder, "shop.db")))
