"""What is done about it. All handlers of an event run side by side, and each one is retried on its own."""

import asyncio
from datetime import UTC, datetime

import dawdle
from shop.events import OrderPlaced, ReminderDue

waits: list[float] = []
"""Seconds from an order to its turn in the statistics."""


@dawdle.on_event
async def send_receipt(event: OrderPlaced) -> None:
    await asyncio.sleep(0.01)  # a mail server takes its time


@dawdle.on_event
async def update_stats(event: OrderPlaced) -> None:
    waits.append((datetime.now(UTC) - event.placed_at).total_seconds())


@dawdle.on_event(OrderPlaced, retry=dawdle.Retry(max_attempts=5, initial=0.2))
async def book_shipping(event: OrderPlaced, ctx: dawdle.Context) -> None:
    if ctx.attempt <= 2:
        raise ConnectionError(f"the carrier does not answer, and {event.order_id} must be shipped")


@dawdle.on_event
async def remind(event: ReminderDue) -> None:
    await asyncio.sleep(0.01)
