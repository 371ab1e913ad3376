"""The events and their handlers. Each handler writes through the session that is about it, and signals in it."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

import dawdle
from unit_of_work.database import Notice, Parcel, unit_of_work


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    number: int


class ParcelBooked(msgspec.Struct, frozen=True):
    order_id: str


registry = dawdle.Registry(around=unit_of_work)


@registry.on_event(name="book_parcel", retry=dawdle.Retry(initial=0.05))
async def book_parcel(event: OrderPlaced, ctx: dawdle.Context) -> None:
    session = ctx.state(AsyncSession)
    if await session.get(Parcel, event.order_id) is not None:
        return  # this event was handled before, and the process died before it was deleted
    session.add(Parcel(order_id=event.order_id, attempt=ctx.attempt))
    await session.flush()
    # The queue is in the same database, so the event is stored with the row, or neither is.
    await dawdle.signal(ParcelBooked(event.order_id), transaction=session)
    await ask_carrier(event, ctx.attempt)


@registry.on_event(name="send_notice")
async def send_notice(event: ParcelBooked, ctx: dawdle.Context) -> None:
    session = ctx.state(AsyncSession)
    if await session.get(Notice, event.order_id) is None:
        session.add(Notice(order_id=event.order_id))


async def ask_carrier(event: OrderPlaced, attempt: int) -> None:
    """Fail for each third order at its first attempt: its row and its event are in the transaction by then."""
    if event.number % 3 == 0 and attempt == 1:
        raise ConnectionError("the carrier does not answer")
