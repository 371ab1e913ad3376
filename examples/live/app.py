"""An order page that shows what happens while it happens, by server-sent events.

Run it: uvicorn --factory live.app:make_web --timeout-graceful-shutdown 1
"""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, StreamingResponse

import dawdle
from dawdle.fastapi import lifespan

PAGE = Path(__file__).with_name("page.html")


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


class OrderPaid(msgspec.Struct, frozen=True):
    order_id: str


class ParcelSent(msgspec.Struct, frozen=True):
    order_id: str
    parcel: str


@dawdle.on_event
async def collect_payment(event: OrderPlaced) -> None:
    await asyncio.sleep(0.1)  # the bank takes its time
    await dawdle.signal(OrderPaid(event.order_id))


@dawdle.on_event
async def send_parcel(event: OrderPaid) -> None:
    await asyncio.sleep(0.1)
    await dawdle.signal(ParcelSent(event.order_id, f"parcel-{event.order_id[:8]}"))


@dawdle.on_event
async def note_parcel(event: ParcelSent) -> None:
    """Only what is handled here can be shown here."""


routes = APIRouter()


@routes.get("/", response_class=FileResponse)
async def page() -> Path:
    return PAGE


@routes.post("/orders/{order_id}", status_code=202)
async def place_order(order_id: str) -> dict[str, str]:
    return {"event_id": await dawdle.signal(OrderPlaced(order_id))}


@routes.get("/orders/{order_id}/events")
async def show_events(order_id: str) -> StreamingResponse:
    return StreamingResponse(
        lines_about(order_id), media_type="text/event-stream", headers={"cache-control": "no-store"}
    )


async def lines_about(order_id: str) -> AsyncGenerator[bytes]:
    """Yield one message of the event stream for each event about an order; a browser that leaves ends it."""
    async with dawdle.stream(
        OrderPlaced, OrderPaid, ParcelSent, where=lambda event: event.order_id == order_id
    ) as events:
        yield b": watching\n\n"  # the browser may place the order now: nothing about it is missed
        async for event in events:
            yield b"event: %b\ndata: %b\n\n" % (type(event).__name__.encode(), msgspec.json.encode(event))


def make_web(app: dawdle.Dawdle | None = None) -> FastAPI:
    web = FastAPI(lifespan=lifespan(app))
    web.include_router(routes)
    return web
