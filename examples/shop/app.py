"""The web app: an order is stored as an event and the answer goes out. Run it: uvicorn --factory shop.app:make_shop."""

from datetime import UTC, datetime

from fastapi import APIRouter, FastAPI
from pydantic import BaseModel

import dawdle
from dawdle.fastapi import lifespan
from shop.events import OrderPlaced, ReminderDue

dawdle.discover("shop.handlers")

orders = APIRouter()


class Order(BaseModel):
    order_id: str
    total: int


@orders.post("/orders", status_code=202)
async def place_order(order: Order) -> dict[str, str]:
    event_id = await dawdle.signal(OrderPlaced(order.order_id, order.total, datetime.now(UTC)))
    await dawdle.signal(ReminderDue(order.order_id), delay=2)
    return {"event_id": event_id}


def make_shop(app: dawdle.Dawdle | None = None) -> FastAPI:
    shop = FastAPI(lifespan=lifespan(app))
    shop.include_router(orders)
    return shop
