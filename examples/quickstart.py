# quickstart.py
from fastapi import FastAPI
from pydantic import BaseModel

import dawdle
from dawdle.fastapi import lifespan


class OrderPlaced(BaseModel):
    order_id: str
    total: int


@dawdle.on_event
async def send_receipt(order: OrderPlaced) -> None:
    print(f"receipt for {order.order_id}: {order.total} EUR")


@dawdle.on_event
async def book_shipping(order: OrderPlaced, ctx: dawdle.Context) -> None:
    if ctx.attempt == 1:
        raise ConnectionError("the carrier does not answer")
    print(f"parcel for {order.order_id}, attempt {ctx.attempt}")


web = FastAPI(lifespan=lifespan())


@web.post("/orders", status_code=202)
async def place_order(order: OrderPlaced) -> dict[str, str]:
    return {"event_id": await dawdle.signal(order)}
