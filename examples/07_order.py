"""The events of one account in their order, accounts side by side, and an id stored once. Run: python 07_order.py

anna + 1
ben + 5
anna + 2
anna + 3
"""

import asyncio
import logging

import msgspec

import dawdle
from dawdle.backends.memory import Memory


class Paid(msgspec.Struct, frozen=True):
    account: str
    amount: int


@dawdle.on_event(retry=dawdle.Retry(initial=0.1))
async def book(event: Paid, ctx: dawdle.Context) -> None:
    if event.amount == 2 and ctx.attempt == 1:
        raise ConnectionError("the bank does not answer")  # anna's next one waits for it, ben's does not
    print(f"{event.account} + {event.amount}")


async def main() -> None:
    async with dawdle.Dawdle(Memory(ordered=True)) as app:
        for amount in (1, 2, 3):
            await app.signal(Paid("anna", amount), group="anna", id=f"anna-{amount}")
        await app.signal(Paid("anna", 3), group="anna", id="anna-3")  # a webhook that came twice
        await app.signal(Paid("ben", 5), group="ben")
        await asyncio.sleep(0.5)


logging.getLogger("dawdle").setLevel(logging.ERROR)
asyncio.run(main())
