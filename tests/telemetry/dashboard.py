"""Runs an app for a minute and a half beside a real Prometheus, asks it what the dashboard asks, and draws the answers.

    python -m tests.telemetry.dashboard

writes `docs/grafana/run.json`, the figures of the run, and `docs/images/dashboard.svg`, its picture. It needs the
program `prometheus`, which Debian has as a package.
"""

import asyncio
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
from prometheus_client import CollectorRegistry, start_http_server

import dawdle
from dawdle.telemetry import prometheus
from tests.ports import free_port
from tests.telemetry.panels import RUN, SVG, draw, panels

SECONDS = 90
AWAY = (30, 50)
"""When the mail server is away, in seconds since the begin."""

ORDERS = 50
"""A second."""

RATE_WINDOW = "10s"
"""What Grafana would put for `$__rate_interval`, with a scrape each second."""


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: int


class ReceiptSent(msgspec.Struct, frozen=True):
    order_id: int


class Shop:
    """Three handlers, one of which needs a mail server that is away for a while."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.registry = dawdle.Registry()
        self.registry.on_event(name="receipt", retry=dawdle.Retry(max_attempts=4, initial=2, max_delay=10))(
            self.send_receipt
        )
        self.registry.on_event(name="parcel", concurrency=5)(self.book_parcel)
        self.registry.on_event(name="audit")(self.audit)

    async def send_receipt(self, event: OrderPlaced) -> None:
        if AWAY[0] < time.monotonic() - self.began < AWAY[1]:
            raise ConnectionError("the mail server is away")
        await asyncio.sleep(random.uniform(0.005, 0.03))
        await dawdle.signal(ReceiptSent(event.order_id))

    async def book_parcel(self, event: OrderPlaced) -> None:
        await asyncio.sleep(random.uniform(0.02, 0.15))

    async def audit(self, event: ReceiptSent) -> None: ...


async def run(registry: CollectorRegistry) -> None:
    """Take orders for the length of the run."""
    shop = Shop()
    async with dawdle.Dawdle(registry=shop.registry, telemetry=prometheus(registry), grace=1) as app:
        for number in range(SECONDS * ORDERS):
            await app.signal(OrderPlaced(number))
            await asyncio.sleep(max(0.0, shop.began + (number + 1) / ORDERS - time.monotonic()))


@contextmanager
def scraping(port: int) -> Iterator[str]:
    """Run a Prometheus that scrapes a port each second; yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        job = {"job_name": "shop", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
        (Path(folder) / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML too
        own = free_port()
        process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"),
                *(f"--web.listen-address=127.0.0.1:{own}", "--log.level=warn"),
            ]
        )
        try:
            yield f"http://127.0.0.1:{own}"
        finally:
            process.terminate()
            process.wait(20)


def ask(url: str, query: str, begin: float, end: float) -> list[dict[str, object]]:
    """Return the series that a query has over the run. Raises what Prometheus says against it."""
    names = {"$__rate_interval": RATE_WINDOW, "$__range": f"{SECONDS}s", "$queue": ".*", "$job": ".*"}
    for name, value in names.items():
        query = query.replace(name, value)
    asked = urlencode({"query": query, "start": begin, "end": end, "step": 1})
    with urlopen(f"{url}/api/v1/query_range?{asked}") as answer:
        return json.load(answer)["data"]["result"]


def main() -> int:
    """Run, ask, draw."""
    if shutil.which("prometheus") is None:
        print("there is no program prometheus here: apt-get install prometheus")
        return 1
    registry, port = CollectorRegistry(), free_port()
    server, thread = start_http_server(port, "127.0.0.1", registry)
    with scraping(port) as url:
        time.sleep(3)
        begin = time.time()
        asyncio.run(run(registry))
        end = begin + SECONDS
        found = [
            {
                "panel": panel["title"],
                "legend": target["legendFormat"],
                "labels": series["metric"],
                "points": [[round(at - begin), float(f"{float(value):.4g}")] for at, value in series["values"]],
            }
            for panel in panels()
            for target in panel["targets"]
            for series in ask(url, target["expr"], begin + 5, end)
        ]
    server.shutdown()
    thread.join()
    RUN.write_text(
        json.dumps(found, separators=(",", ":")).replace('},{"panel"', '},\n{"panel"') + "\n", encoding="utf-8"
    )
    SVG.write_text(draw(found), encoding="utf-8")
    print(f"{len(found)} series; written: {RUN.name}, {SVG.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
