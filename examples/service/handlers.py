"""What happens after an order. Each handler has a session, and is retried on its own until it is done."""

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

import dawdle
from service.carrier import Carrier
from service.database import Mail, Order, unit_of_work
from service.events import OrderPlaced, ParcelBooked, ReviewAsked

registry = dawdle.Registry(around=unit_of_work)


@registry.on_event(name="send_receipt")
async def send_receipt(order: OrderPlaced, ctx: dawdle.Context) -> None:
    await send_mail(ctx, f"receipt-{order.order_id}", f"{order.email}: {order.total} EUR, thank you")


# A key that the carrier refuses is no better the next time: such an order becomes a dead letter at once.
@registry.on_event(
    name="book_parcel", retry=dawdle.Retry(max_attempts=20, never=(PermissionError,)), timeout=30, concurrency=4
)
async def book_parcel(order: OrderPlaced, ctx: dawdle.Context) -> None:
    session = ctx.state(AsyncSession)
    stored = await session.get_one(Order, order.order_id)
    if stored.parcel is not None:
        return  # it ran before, and its process died before the event was deleted
    parcel = stored.parcel = await ctx.state(Carrier).book(order.order_id)
    # The queue is in the same file: the parcel and its event are stored together, or neither is.
    await dawdle.signal(ParcelBooked(order_id=order.order_id, parcel=parcel), transaction=session)


@registry.on_event(name="tell_customer")
async def tell_customer(event: ParcelBooked, ctx: dawdle.Context) -> None:
    await send_mail(ctx, f"parcel-{event.order_id}", f"your parcel is {event.parcel}")
    session = ctx.state(AsyncSession)
    await dawdle.signal(ReviewAsked(order_id=event.order_id), delay=timedelta(days=7), transaction=session)


@registry.on_event(name="ask_for_review")
async def ask_for_review(event: ReviewAsked, ctx: dawdle.Context) -> None:
    await send_mail(ctx, f"review-{event.order_id}", "how was it?")


async def send_mail(ctx: dawdle.Context, key: str, text: str) -> None:
    """Send a mail once: here it is a row."""
    session = ctx.state(AsyncSession)
    if await session.get(Mail, key) is None:
        session.add(Mail(key=key, text=text))
