"""What a handler can say, and what becomes of an event that is given up. Run: python 02_failures.py

o-1: not yet
o-1: stored, attempt 1
OrderPlaced(order_id='o-2', address='') is in the dead-letter queue: Reject: the address is not complete
o-2: stored, attempt 1
1 letter is put back
"""

import asyncio
import logging

import msgspec

import dawdle


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    address: str


ready: set[str] = set()
mended: set[str] = set()


@dawdle.on_event
async def store(order: OrderPlaced, ctx: dawdle.Context) -> None:
    if not order.address and order.order_id not in mended:
        raise dawdle.Reject("the address is not complete")  # no further attempt helps
    if order.order_id == "o-1" and not ready:
        ready.add(order.order_id)
        print("o-1: not yet")
        raise dawdle.RetryLater(0.1)  # costs no attempt
    print(f"{order.order_id}: stored, attempt {ctx.attempt}")


async def main() -> None:
    async with dawdle.Dawdle() as app:
        await app.signal_many([OrderPlaced("o-1", "Main Street 1"), OrderPlaced("o-2", "")])
        await asyncio.sleep(0.4)
        async for letter in app.dead_letters():
            print(f"{letter.event} is in the dead-letter queue: {letter.error}")
        mended.add("o-2")
        count = await app.redrive(OrderPlaced)
        await app.idle()
        print(f"{count} letter is put back")


logging.getLogger("dawdle").setLevel(logging.CRITICAL)  # a letter is an error in the log
asyncio.run(main())
