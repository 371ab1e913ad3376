"""The lifespan of `dawdle.fastapi` and `dawdle_app` come together, with what the user's own lifespan yields."""

import pytest

pytestmark = pytest.mark.once

WEB = """
from contextlib import asynccontextmanager

import dawdle
import dawdle.aiohttp
from aiohttp import web as aiohttp_web
from dawdle.fastapi import Events, health_router, lifespan
from fastapi import FastAPI
from pydantic import BaseModel


class OrderPlaced(BaseModel):
    order_id: str


class Pool:
    def __init__(self):
        self.receipts = []


opened = []


@asynccontextmanager
async def own(web):
    opened.append("pool")
    yield {"pool": Pool()}
    opened.append("closed")


@dawdle.on_event
async def send_receipt(order: OrderPlaced, ctx: dawdle.Context) -> None:
    ctx.state(Pool).receipts.append(order.order_id)


def make(app=None):
    web = FastAPI(lifespan=lifespan(app, own=own))
    web.include_router(health_router())

    @web.post("/orders", status_code=202)
    async def place_order(order: OrderPlaced, events: Events) -> dict[str, str]:
        return {"event_id": await events.signal(order, delay=3600)}

    return web


class OrderShipped(BaseModel):
    order_id: str


@dawdle.on_event
async def thank(event: OrderShipped, ctx: dawdle.Context) -> None:
    ctx.state(aiohttp_web.Application)


async def ship_order(request: aiohttp_web.Request) -> aiohttp_web.Response:
    event = OrderShipped(order_id=request.match_info["order_id"])
    return aiohttp_web.json_response({"event_id": await request.app[dawdle.aiohttp.APP].signal(event, delay=3600)})


def make_aiohttp():
    web = aiohttp_web.Application()
    web.cleanup_ctx.append(dawdle.aiohttp.cleanup_ctx())
    web.router.add_post("/orders/{order_id}", ship_order)
    return web


events = dawdle.Dawdle(retry=dawdle.Retry(max_attempts=2))
web, events_web = make(), make(events)
"""

TESTS = """
import httpx
import pytest
import shop
from aiohttp.test_utils import TestClient as AiohttpClient
from aiohttp.test_utils import TestServer
from dawdle.testing import assert_handled
from fastapi.testclient import TestClient
from shop import OrderPlaced, OrderShipped

ORDER = {"order_id": "o-1"}


@pytest.fixture(params=["anonymous", "own"])
def web(request):
    return shop.web if request.param == "anonymous" else shop.events_web


@pytest.fixture
def dawdle_tested_app(request, web):
    return None if web is shop.web else shop.events


def test_with_the_test_client(dawdle_app, web):
    shop.opened.clear()
    with TestClient(web) as client:
        assert client.post("/orders", json=ORDER).status_code == 202
        assert client.get("/ready").status_code == 200
        dawdle_app.from_thread.advance(hours=1)
        dawdle_app.from_thread.idle()
        assert_handled(OrderPlaced, order_id="o-1")
    assert shop.opened == ["pool", "closed"]


async def test_with_httpx_and_the_lifespan(dawdle_app, web):
    shop.opened.clear()
    async with web.router.lifespan_context(web):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://shop") as client:
            assert (await client.post("/orders", json=ORDER)).status_code == 202
        await dawdle_app.advance(hours=1)
        await dawdle_app.idle()
        assert_handled(OrderPlaced, order_id="o-1")
    assert shop.opened == ["pool", "closed"]


async def test_with_aiohttp(dawdle_app):
    async with AiohttpClient(TestServer(shop.make_aiohttp())) as client:
        assert (await client.post("/orders/o-1")).status == 200
        await dawdle_app.advance(hours=1)
        await dawdle_app.idle()
        assert_handled(OrderShipped, order_id="o-1")
"""


def test_the_lifespan_of_the_door_enters_the_app_of_the_test(run):
    run("--asyncio-mode=auto", shop=WEB, test_web=TESTS).assert_outcomes(passed=6)
