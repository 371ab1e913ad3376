"""The door for ASGI web apps, in Starlette and in Litestar."""

from contextlib import asynccontextmanager

import pytest
from litestar import Litestar, Request, asgi, get, post
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from dawdle import Context, Dawdle
from dawdle.asgi import app_of, health_routes, lifespan
from dawdle.backends.memory import Memory
from tests.web.events import Placed


class Pool:
    pass


@asynccontextmanager
async def own(web):
    yield {"pool": Pool()}


@asynccontextmanager
async def own_of_litestar(web):
    yield Pool()


@pytest.fixture
def found(registry):
    states = []

    @registry.on_event
    async def note(event: Placed, ctx: Context) -> None:
        states.append((event.order_id, ctx.state(Pool)))

    return states


@pytest.fixture
def events(registry):
    return Dawdle(Memory(), registry=registry)


def test_starlette(events, found):
    async def place(request: StarletteRequest) -> Response:
        app = app_of(request.scope)
        assert request.app.state.dawdle is app
        return JSONResponse({"event_id": await app.signal(Placed(order_id="o-1")), "pool": repr(request.state.pool)})

    routes = [Route("/orders", place, methods=["POST"]), Mount("/internal", health_routes())]
    with TestClient(Starlette(lifespan=lifespan(events, own=own), routes=routes)) as client:
        pool = client.post("/orders").json()["pool"]
        assert client.get("/internal/ready").json() == {"status": "ready"}
        assert client.get("/internal/reedy").status_code == 404
        client.portal.call(events.idle)
    assert [(order_id, repr(each)) for order_id, each in found] == [("o-1", pool)]


def test_litestar(events, found):
    @post("/orders")
    async def place(request: Request) -> dict[str, str]:
        return {"event_id": await app_of(request.scope).signal(Placed(order_id="o-1"))}

    @get("/same")
    async def same(request: Request) -> bool:
        return request.app.state.dawdle is app_of(request.scope)

    internal = asgi("/internal", is_mount=True, copy_scope=True)(health_routes())
    web = Litestar(route_handlers=[place, same, internal], lifespan=[lifespan(events, own=own_of_litestar)])
    with LitestarClient(web) as client:
        assert client.post("/orders").status_code == 201
        assert client.get("/same").json() is True
        assert client.get("/internal/ready").json() == {"status": "ready"}
        assert client.get("/internal/health").json()["ready"] is True
        client.blocking_portal.call(events.idle)
    assert [order_id for order_id, _ in found] == ["o-1"]
