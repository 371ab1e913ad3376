"""dawdle in thirty lines. Run it: python quickstart.py."""

import asyncio

import msgspec

import dawdle


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int


@dawdle.on_event
async def send_receipt(event: OrderPlaced) -> None:
    print(f"receipt for {event.order_id}: {event.total} EUR")


@dawdle.on_event
async def book_shipping(event: OrderPlaced, ctx: dawdle.Context) -> None:
    print(f"parcel for {event.order_id}, attempt {ctx.attempt}")


async def main() -> None:
    async with dawdle.Dawdle() as app:
        await dawdle.signal(OrderPlaced("o-2", total=250), delay=1)
        await dawdle.signal(OrderPlaced("o-1", total=100))
        await app.idle()  # nothing that is due is left to do
        print("o-1 is done, o-2 is due in a second")
        await asyncio.sleep(1.1)
        await app.idle()


asyncio.run(main())
