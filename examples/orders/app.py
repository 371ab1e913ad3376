"""The web app: it stores orders as events and handles none of them. Run it: uvicorn orders.app:shop."""

from fastapi import FastAPI
from pydantic import BaseModel

import dawdle
from dawdle.fastapi import lifespan
from orders.events import OrderPlaced


class Order(BaseModel):
    order_id: str
    total: int


shop = FastAPI(lifespan=lifespan(lambda: dawdle.Dawdle(start_listener=False)))


@shop.post("/orders", status_code=202)
async def place_order(order: Order) -> dict[str, str]:
    return {"event_id": await dawdle.signal(OrderPlaced(order.order_id, order.total))}
