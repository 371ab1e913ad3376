"""A web app and `dawdle_app` come together: by httpx, by FastAPI's TestClient, with an app of the user's own."""

import pytest

pytestmark = pytest.mark.once

WEB = """
import asyncio
from contextlib import asynccontextmanager

import dawdle
import msgspec
from fastapi import FastAPI
from pydantic import BaseModel


class OrderPlaced(BaseModel):
    order_id: str


class Pool:
    def __init__(self):
        self.receipts = []


@asynccontextmanager
async def pool(app):
    yield Pool()


mails = []


@dawdle.on_event
async def send_mail(order: OrderPlaced) -> None:
    await asyncio.sleep(0.01)
    mails.append(order.order_id)


@asynccontextmanager
async def anonymous(web):
    async with dawdle.Dawdle():
        yield


@asynccontextmanager
async def with_options(web):
    async with dawdle.Dawdle(retry=dawdle.Retry(max_attempts=2)):
        yield


registry = dawdle.Registry()
events = dawdle.Dawdle(registry=registry, lifespan=pool, start_listener=False)


@registry.on_event
async def write_receipt(order: OrderPlaced, ctx: dawdle.Context) -> None:
    ctx.state(Pool).receipts.append(order.order_id)
    mails.append(f"receipt of {order.order_id}")


@asynccontextmanager
async def own(web):
    async with events:
        yield


def make(lifespan, signal):
    web = FastAPI(lifespan=lifespan)

    @web.post("/orders", status_code=202)
    async def place_order(order: OrderPlaced) -> dict[str, str]:
        return {"event_id": await signal(order, delay=3600)}

    @web.post("/orders/sync", status_code=202)
    def place_order_in_a_thread(order: OrderPlaced) -> dict[str, str]:
        return {"event_id": dawdle.from_thread.signal(order)}

    return web


web = make(anonymous, dawdle.signal)
own_web = make(own, events.signal)
optioned_web = make(with_options, dawdle.signal)
"""

TESTS = """
import asyncio

import dawdle
import httpx
import pytest
import shop
from dawdle.backends.memory import Memory
from dawdle.fastapi import lifespan
from dawdle.testing import assert_handled, assert_signaled
from fastapi.testclient import TestClient
from shop import OrderPlaced, mails

ORDER = {"order_id": "o-1"}


@pytest.fixture(autouse=True)
def no_mails():
    mails.clear()


@pytest.fixture
async def client(dawdle_app):
    transport = httpx.ASGITransport(shop.web)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        await client.post("/orders", json={"order_id": "o-0"})  # an async fixture is inside the app as well
        yield client
        await dawdle_app.idle()


async def test_httpx(client, dawdle_app):
    assert (await client.post("/orders", json=ORDER)).status_code == 202
    await dawdle_app.advance(minutes=59)
    assert mails == []
    await dawdle_app.advance(minutes=1)
    assert mails == ["o-0", "o-1"]


async def test_httpx_with_the_lifespan(dawdle_app):
    async with shop.web.router.lifespan_context(shop.web):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(shop.web), base_url="http://shop") as client:
            await client.post("/orders", json=ORDER)
        await dawdle_app.advance(hours=1)
    assert mails == ["o-1"]


def test_client(dawdle_app, dawdle_signals):
    with TestClient(shop.web) as client:
        assert client.post("/orders", json=ORDER).status_code == 202
        assert client.post("/orders/sync", json={"order_id": "o-2"}).status_code == 202
        dawdle_app.from_thread.idle()
        assert mails == ["o-2"]
        dawdle_app.from_thread.advance(hours=1)
        assert mails == ["o-2", "o-1"]
        assert_handled(OrderPlaced, shop.send_mail, order_id="o-1")
    assert dawdle_signals.events == [OrderPlaced(order_id="o-1"), OrderPlaced(order_id="o-2")]


def test_client_of_an_app_with_options(dawdle_app):
    with TestClient(shop.optioned_web) as client:
        client.post("/orders", json=ORDER)
        assert dawdle_app._settings.retry.max_attempts == 2
        dawdle_app.from_thread.advance(hours=1)
    assert mails == ["o-1"]


class Mail:
    def __init__(self, text):
        self.text = text

    async def send(self):
        mails.append(self.text)


class Watching:
    def __init__(self):
        self.moments = []

    def entered(self, queues, health):
        return True

    def left(self):
        pass

    def watch(self, moment):
        self.moments.append(moment)

    def headers(self, handled):
        return {}


def web_of(**options):
    return shop.make(lifespan(lambda: dawdle.Dawdle(**options)), dawdle.signal)


def test_hooks_and_telemetry_of_your_app_run(dawdle_app):
    moments, watching = [], Watching()
    with TestClient(web_of(hooks=[moments.append])) as client:
        client.post("/orders", json=ORDER)
        assert moments
    moments.clear()
    with TestClient(web_of(telemetry=watching)) as client:
        client.post("/orders", json=ORDER)
        assert watching.moments
        assert moments == []
        dawdle_app.from_thread.advance(hours=1)
    assert mails == ["o-1", "o-1"]


def test_what_the_test_has_registered_before_stays(dawdle_app):
    async def of_the_test(order: OrderPlaced) -> None:
        mails.append("test")

    dawdle_app.register(of_the_test)
    dawdle_app.unregister(shop.send_mail)
    for options in ({}, {"retry": dawdle.Retry(max_attempts=2)}, {"source": "shop"}):
        with TestClient(web_of(**options)) as client:
            client.post("/orders", json=ORDER)
            dawdle_app.from_thread.advance(hours=1)
    assert mails == ["test"] * 3


@pytest.mark.dawdle(functions=dawdle.SignedPickle("k" * 32))
def test_options_of_the_test_stay(dawdle_app):
    with TestClient(web_of(hooks=[print])) as client:
        client.portal.call(dawdle_app.call, Mail("called").send)
        dawdle_app.from_thread.idle()
    assert mails == ["called"]


async def test_hooks_and_telemetry_that_come_too_late_are_an_error(dawdle_app):
    web = web_of(hooks=[print], telemetry=Watching())
    with pytest.raises(dawdle.ConfigurationError, match="lacks what that one has: hooks, telemetry. Keep"):
        async with web.router.lifespan_context(web):
            pass


async def test_a_test_client_in_an_async_test_is_an_error(dawdle_app):
    why = "a TestClient is entered inside an `async def` test .write `def`, or use httpx.AsyncClient."
    with pytest.raises(dawdle.ConfigurationError, match=why), TestClient(shop.web):
        pass


def test_a_test_client_that_is_not_entered_is_an_error(dawdle_app):
    why = r"as FastAPI.lifespan=dawdle.fastapi.lifespan... does; its test needs `with TestClient.web. as client:`"
    with pytest.raises(dawdle.NoAppError, match=why):
        TestClient(shop.web).post("/orders", json=ORDER)


async def test_state_of_a_lifespan_that_was_not_entered_is_an_error(dawdle_app):
    @dawdle_app.register
    async def count(order: OrderPlaced, ctx: dawdle.Context) -> None:
        ctx.state(shop.Pool)

    await dawdle.signal(OrderPlaced(order_id="o-1"))
    with pytest.raises(dawdle.ConfigurationError, match="ASGITransport runs none: enter web.router.lifespan_context"):
        await dawdle_app.idle()


def test_two_apps_with_other_options_are_not_one(dawdle_app):
    retry = dawdle.Retry(max_attempts=2)
    pairs = [
        ({"registry": dawdle.Registry()}, {}, "registry"),
        ({"retry": retry, "hooks": [print]}, {"retry": retry}, "hooks"),
        ({"queues": {"default": Memory(), "b": Memory()}}, {}, "queues"),
        ({"signing_keys": {"a": "k" * 32}}, {}, "signing_keys"),
        ({"timeout": 5}, {"timeout": 6}, "timeout"),
    ]

    async def main(first, second):
        async with dawdle.Dawdle(**first):
            async with dawdle.Dawdle(**first):  # one that has the same options is the same for a test
                pass
            async with dawdle.Dawdle(**second):
                pass

    for first, second, differs in pairs:
        with pytest.raises(dawdle.ConfigurationError, match=f"the two differ in {differs}[.] Make"):
            asyncio.run(main(first, second))

    async def of_one_with_a_handler():
        app = dawdle.Dawdle()

        @app.register
        async def own(order: OrderPlaced) -> None:
            pass

        async with app, dawdle.Dawdle():
            pass

    with pytest.raises(dawdle.ConfigurationError, match="the two differ in handlers of its own[.] Make"):
        asyncio.run(of_one_with_a_handler())


@pytest.mark.dawdle(retry=dawdle.Retry(max_attempts=3))
def test_options_of_the_test_are_those_of_all_its_apps(dawdle_app):
    async def main():
        async with dawdle.Dawdle(timeout=5), dawdle.Dawdle(timeout=5, retry=dawdle.Retry(max_attempts=2)):
            pass
    asyncio.run(main())


class TestOwnApp:
    @pytest.fixture
    def dawdle_tested_app(self):
        return shop.events

    def test_client(self, dawdle_app):
        with TestClient(shop.own_web) as client:
            assert dawdle_app is shop.events
            client.post("/orders", json=ORDER)
            dawdle_app.from_thread.advance(hours=1)
        assert mails == ["receipt of o-1"]

    async def test_in_the_loop(self, dawdle_app):
        async with shop.own_web.router.lifespan_context(shop.own_web):
            await shop.events.signal(OrderPlaced(order_id="o-2"))
            await dawdle_app.idle()
        assert mails == ["receipt of o-2"]
        assert dawdle.current() is shop.events
        assert_signaled(OrderPlaced, order_id="o-2")

    def test_it_is_as_it_was(self):
        assert type(shop.events) is dawdle.Dawdle
        assert repr(shop.events).endswith("not entered>")


async def test_an_app_with_options_comes_too_late(dawdle_app):
    with pytest.raises(dawdle.ConfigurationError, match="lacks what that one has: retry. Keep your app in a variable"):
        async with shop.optioned_web.router.lifespan_context(shop.optioned_web):
            pass


def test_nothing_is_left():
    async def main():
        async with dawdle.Dawdle(registry=dawdle.Registry()) as app:
            assert type(app) is dawdle.Dawdle
            assert dawdle.current() is app
    asyncio.run(main())
"""


def test_a_web_app_uses_the_app_of_the_test(run):
    result = run("--asyncio-mode=auto", shop=WEB, test_web=TESTS)
    result.assert_outcomes(passed=18)
