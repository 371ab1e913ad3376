"""Places orders, each third of which is rolled back once, and counts what is in the database in the end.

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
from dawdle.backends.sqlite import SQLite
from dawdle.hooks import HandlerFinished
from unit_of_work.app import OrderPlaced, registry
from unit_of_work.database import Database, Notice, Parcel, open_database

PATIENCE = 60
"""Seconds that all handlers have."""


async def main(orders: int, path: Path) -> None:
    """Place orders, wait until each has its notice, and print the counts."""
    runs: Counter[str] = Counter()
    all_done = asyncio.Event()

    def count(moment: object) -> None:
        if isinstance(moment, HandlerFinished):
            runs[f"{moment.handler} {moment.outcome}"] += 1
            if runs["send_notice done"] == orders:
                all_done.set()

    def lifespan(app: dawdle.Dawdle) -> AbstractAsyncContextManager[Database]:
        return open_database(path)

    # SQLite has one writer at a time, so many runs at once would only wait for each other.
    async with (
        dawdle.Dawdle(SQLite(path), registry=registry, lifespan=lifespan, hooks=[count], concurrency=4) as app,
        asyncio.timeout(PATIENCE),
    ):
        await app.signal_many([OrderPlaced(f"o-{number}", number) for number in range(orders)])
        await all_done.wait()
        await app.idle()
    async with open_database(path) as database, database.sessions() as session:
        for table in (Parcel, Notice):
            print(f"{table.__tablename__:24} {await session.scalar(select(func.count()).select_from(table))}")
        late = select(func.count()).select_from(Parcel).where(Parcel.attempt > 1)
        print(f"{'of a second attempt':24} {await session.scalar(late)}")
    for name, number in sorted(runs.items()):
        print(f"{name:24} {number}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=30)
    logging.getLogger("dawdle").setLevel(logging.ERROR)  # each roll-back is a warning
    with TemporaryDirectory() as folder:
        asyncio.run(main(parser.parse_args().orders, Path(folder, "shop.db")))
