"""What is done about an order. The handlers run side by side on any of the workers, and each is retried on its own."""

import asyncio

import dawdle
from orders.events import OrderPlaced
from orders.journal import Run


@dawdle.on_event
async def send_receipt(event: OrderPlaced, ctx: dawdle.Context) -> None:
    run = Run.begin(ctx)
    await asyncio.sleep(0.05)  # a mail server takes its time
    run.end()


@dawdle.on_event
async def update_stats(event: OrderPlaced, ctx: dawdle.Context) -> None:
    Run.begin(ctx).end()


@dawdle.on_event(OrderPlaced, retry=dawdle.Retry(max_attempts=5, initial=1))
async def book_shipping(event: OrderPlaced, ctx: dawdle.Context) -> None:
    run = Run.begin(ctx)
    if ctx.attempt == 1 and event.order_id.endswith("0"):
        raise ConnectionError(f"the carrier does not answer, and {event.order_id} must be shipped")
    await asyncio.sleep(0.1)  # and so does a carrier
    run.end()
