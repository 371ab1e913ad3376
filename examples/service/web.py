"""The web app: its endpoints, its probes, its metrics. It handles its events itself, so one process is the service."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI, HTTPException, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dawdle.fastapi import Events, exception_handlers, health_router, lifespan
from service.app import make_app
from service.carrier import Carrier
from service.database import Database, Order, open_database
from service.events import OrderPlaced
from service.settings import Settings, from_environment


class Resources(TypedDict):
    """What requests find as `request.state`, and handlers by `ctx.state(Type)`."""

    database: Database
    carrier: Carrier


def make_web(settings: Settings | None = None, carrier: Carrier | None = None) -> FastAPI:
    settings = settings or from_environment()

    @asynccontextmanager
    async def resources(web: FastAPI) -> AsyncGenerator[Resources]:
        async with open_database(settings.database) as database:
            yield {"database": database, "carrier": carrier or Carrier(settings.carrier_key)}

    # A function, since each start of the web app makes an app of dawdle of its own.
    web = FastAPI(lifespan=lifespan(lambda: make_app(settings), own=resources), exception_handlers=exception_handlers)
    web.include_router(health_router())

    @web.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @web.post("/orders", status_code=202)
    async def place_order(order: OrderPlaced, request: Request, events: Events) -> dict[str, str]:
        # Committed here and not by a dependency, which FastAPI may leave after the answer is sent.
        async with request.state.database.sessions.begin() as session:
            if await session.get(Order, order.order_id) is not None:
                return {"order": f"/orders/{order.order_id}"}  # a client that asked twice
            session.add(Order(order_id=order.order_id, email=order.email, total=order.total))
            await events.signal(order, transaction=session)
        return {"order": f"/orders/{order.order_id}"}

    @web.get("/orders/{order_id}")
    async def show_order(order_id: str, request: Request) -> dict[str, str | int | None]:
        async with request.state.database.sessions() as session:
            order = await session.get(Order, order_id)
        if order is None:
            raise HTTPException(404)
        return {"order_id": order.order_id, "total": order.total, "parcel": order.parcel}

    return web
