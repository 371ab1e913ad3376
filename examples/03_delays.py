"""Events of later, for tomorrow or next year, tried out without waiting. Run: python 03_delays.py

2030-01-01 00:01:00 a call back
2030-01-01 00:01:30 ninety seconds
2030-01-01 12:00:00 noon
2031-01-01 00:00:00 a year
"""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec

import dawdle
from dawdle.backends.memory import Memory
from dawdle.testing import ManualClock

clock = ManualClock(start=datetime(2030, 1, 1, tzinfo=UTC).timestamp())


class ReminderDue(msgspec.Struct, frozen=True):
    about: str


@dawdle.on_event
async def remind(event: ReminderDue) -> None:
    print(f"{datetime.fromtimestamp(clock.now(), UTC):%Y-%m-%d %H:%M:%S} {event.about}")


async def main() -> None:
    async with dawdle.Dawdle(Memory(clock=clock), clock=clock, grace=0) as app:
        await app.signal(ReminderDue("a year"), delay=timedelta(days=365))
        await app.signal(ReminderDue("ninety seconds"), delay=90)
        await app.signal(ReminderDue("noon"), at=datetime(2030, 1, 1, 12, tzinfo=UTC))
        await app.signal(ReminderDue("a call back"), delay=60)
        await clock.advance(timedelta(days=366).total_seconds())


asyncio.run(main())
