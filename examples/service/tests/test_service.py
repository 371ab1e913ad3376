"""The whole service, a week in milliseconds: real tables, a real queue in their file, time by the test's clock.

pip install -r service/requirements-test.txt
python -m pytest service
"""

from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dawdle.backends.sqlite import SQLite
from dawdle.testing import AppOptions, TestApp, assert_handled, assert_not_signaled, assert_signaled, context
from service.carrier import Carrier
from service.database import Mail, open_database
from service.events import OrderPlaced, ParcelBooked, ReviewAsked
from service.handlers import ask_for_review, book_parcel
from service.settings import Settings
from service.web import make_web

ORDER = {"order_id": "o-1", "email": "anna@example.org", "total": 100}


class BusyCarrier(Carrier):
    """Does not answer the first time."""

    def __init__(self) -> None:
        self.asked = 0

    async def book(self, order_id: str) -> str:
        self.asked += 1
        if self.asked == 1:
            raise ConnectionError("the carrier does not answer")
        return f"P-{order_id}"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(tmp_path / "shop.db", sends_traces=False)


@pytest.fixture
def dawdle_options(settings: Settings) -> AppOptions:
    return {"backend": SQLite(settings.database)}


@pytest.fixture
def client(dawdle_app: TestApp, settings: Settings) -> Generator[TestClient]:
    with TestClient(make_web(settings, BusyCarrier())) as client:
        yield client


def test_an_order_has_its_parcel_although_the_carrier_is_busy(client: TestClient, dawdle_app: TestApp) -> None:
    assert client.post("/orders", json=ORDER).status_code == 202
    dawdle_app.from_thread.advance(minutes=1)
    assert_handled(OrderPlaced, book_parcel, order_id="o-1")
    assert client.get("/orders/o-1").json() == {"order_id": "o-1", "total": 100, "parcel": "P-o-1"}


def test_a_review_is_asked_for_a_week_later(client: TestClient, dawdle_app: TestApp) -> None:
    client.post("/orders", json=ORDER)
    dawdle_app.from_thread.advance(minutes=1)
    assert assert_signaled(ReviewAsked, order_id="o-1").delay == timedelta(days=7).total_seconds()


async def test_how_a_review_is_asked_for(dawdle_app: TestApp, settings: Settings) -> None:
    """A handler is a function: it is called with an event and a context."""
    async with open_database(settings.database) as database, database.sessions.begin() as session:
        await ask_for_review(ReviewAsked(order_id="o-1"), context(state=session))
        mail = await session.get_one(Mail, "review-o-1")
        assert mail.text == "how was it?"


def test_an_order_that_came_twice_is_one_event(client: TestClient, dawdle_app: TestApp) -> None:
    for _ in range(2):
        assert client.post("/orders", json=ORDER).status_code == 202
    dawdle_app.from_thread.advance(minutes=1)
    assert_handled(ParcelBooked, order_id="o-1")


def test_what_is_no_order_is_refused(client: TestClient, dawdle_app: TestApp) -> None:
    assert client.post("/orders", json={**ORDER, "total": 0}).status_code == 422
    assert_not_signaled(OrderPlaced)
    assert client.get("/orders/o-1").status_code == 404


def test_the_probes_and_the_metrics(client: TestClient, dawdle_app: TestApp) -> None:
    client.post("/orders", json=ORDER)
    dawdle_app.from_thread.advance(minutes=1)
    assert client.get("/live").status_code == 200
    assert client.get("/ready").status_code == 200
    metrics = client.get("/metrics").text
    assert "dawdle_messages_in_flight" in metrics
