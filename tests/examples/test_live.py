"""The live order page: its events arrive over a real connection, one by one, in a program and in a browser."""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.examples.browser import CHROMIUM, browser
from tests.ports import free_port

pytestmark = [pytest.mark.once, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def server():
    port = free_port()
    options = ["--port", str(port), "--log-level", "warning", "--timeout-graceful-shutdown", "1"]
    command = [sys.executable, "-um", "uvicorn", "--factory", "live.app:make_web", *options]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as web:
        try:
            while web.poll() is None:
                try:
                    httpx.get(url)
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield url, web
        finally:
            web.terminate()
            web.communicate(timeout=30)


def messages_of(lines):
    """The messages of an event stream: the name and the data of each."""
    name = None
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_client_gets_each_event_of_its_own_order_while_it_happens():
    with server() as (url, web), httpx.stream("GET", f"{url}/orders/o-1/events", timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == ": watching"
        for order in ("o-2", "o-1"):
            assert httpx.post(f"{url}/orders/{order}").status_code == 202
        messages = messages_of(lines)
        assert [next(messages) for _ in range(3)] == [
            ("OrderPlaced", {"order_id": "o-1"}),
            ("OrderPaid", {"order_id": "o-1"}),
            ("ParcelSent", {"order_id": "o-1", "parcel": "parcel-o-1"}),
        ]
        began = time.monotonic()
        web.terminate()  # while the stream is open
        web.wait(20)
        assert time.monotonic() - began < 10


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_a_browser_shows_each_event_of_the_order_that_it_places(tmp_path):
    with server() as (url, _), browser(tmp_path) as page:
        page.open(url)
        page.until("document.readyState === 'complete' && !!document.getElementById('place')", bool)
        for _ in range(2):  # the second order begins anew
            page.evaluate("document.getElementById('place').click()")
            shown = page.until(
                "[...document.querySelectorAll('#events li')].map((item) => item.textContent)",
                lambda items: len(items) == 3 and items[2].startswith("Parcel"),
            )
            assert shown[:2] == ["Order placed", "Payment received"]
            assert shown[2].startswith("Parcel sent: parcel-")
            assert len(shown) == 3
