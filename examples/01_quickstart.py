"""An event, two handlers, one signal. One handler fails, and only that one is run again. Run: python 01_quickstart.py

receipt for o-1: 100 EUR
the carrier does not answer
parcel for o-1, attempt 2
"""

import asyncio
import logging

import msgspec

import dawdle


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int


@dawdle.on_event
async def send_receipt(order: OrderPlaced) -> None:
    print(f"receipt for {order.order_id}: {order.total} EUR")


@dawdle.on_event(retry=dawdle.Retry(initial=0.2))
async def book_parcel(order: OrderPlaced, ctx: dawdle.Context) -> None:
    if ctx.attempt == 1:
        print("the carrier does not answer")
        raise ConnectionError("the carrier does not answer")
    print(f"parcel for {order.order_id}, attempt {ctx.attempt}")


async def main() -> None:
    async with dawdle.Dawdle():
        await dawdle.signal(OrderPlaced("o-1", 100))  # returns when the queue has stored the event
        await asyncio.sleep(0.5)  # a service runs on; a script has to wait for the second attempt


logging.getLogger("dawdle").setLevel(logging.ERROR)  # the failure would be logged with its traceback
asyncio.run(main())
