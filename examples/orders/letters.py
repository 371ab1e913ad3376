"""The dead letters: lists them, or puts back those of one handler. Run it: python -m orders.letters --redrive NAME."""

import argparse
import asyncio
from datetime import timedelta

import dawdle

dawdle.discover("orders.handlers")  # so that the events can be decoded; nothing here runs a handler


async def list_letters(app: dawdle.Dawdle) -> None:
    async for letter in app.dead_letters():
        when = "some time ago" if letter.dead_at is None else f"{letter.dead_at:%Y-%m-%d %H:%M}"
        print(f"{when}  {letter.event_id}  {letter.handler}, attempt {letter.attempts}: {letter.error}")
        print(f"    {letter.event or letter.event_type}")


async def main(handler: str | None, days: float | None) -> None:
    async with dawdle.Dawdle(start_listener=False) as app:
        if days is not None:
            print(f"purged: {await app.purge(older_than=timedelta(days=days))}")
        if handler is not None:
            print(f"redriven: {await app.redrive(handler=handler)}")
        if days is None and handler is None:
            await list_letters(app)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--redrive", metavar="NAME", help="put the letters of this handler back")
    parser.add_argument("--purge", metavar="DAYS", type=float, help="delete letters older than this")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.redrive, arguments.purge))
