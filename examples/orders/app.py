"""The web app: it stores orders as events and handles none of them. Run it: uvicorn orders.app:shop."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from pydantic import BaseModel

import dawdle
from orders.events import OrderPlaced


class Order(BaseModel):
    order_id: str
    total: int


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with dawdle.Dawdle(start_listener=False):
        yield


shop = FastAPI(lifespan=lifespan)


@shop.post("/orders", status_code=202)
async def place_order(order: Order) -> dict[str, str]:
    return {"event_id": await dawdle.signal(OrderPlaced(order.order_id, order.total))}
