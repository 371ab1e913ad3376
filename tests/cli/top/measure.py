"""Measures what `dawdle top` takes of a CPU while workers are under load: `python -m tests.cli.top.measure`.

On a SQLite file and on the SQS test server, in terminals of 80 and of 200 columns. It fails if `top` shows no worker
under load, or takes more than 2 %.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.cli.top.terminal import Terminal, running_in_terminal
from tests.ports import free_port, listens

MAX_SHARE = 0.02

APP = """
import asyncio, random, sys
import dawdle, msgspec

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str

@dawdle.on_event(name="receipts.send")
async def send_receipt(event: OrderPlaced) -> None:
    await asyncio.sleep(random.uniform(0.001, 0.02))

@dawdle.on_event(name="shipping.book", retry=dawdle.Retry(max_attempts=3, initial=1))
async def book_shipping(event: OrderPlaced) -> None:
    if event.order_id.endswith("7"):
        raise ConnectionError("away")

@dawdle.on_event(name="audit")
async def audit(event: object) -> None: ...

app = dawdle.Dawdle()

async def load() -> None:
    async with app.connected():
        number = 0
        while True:
            number += 1
            await app.signal_many([OrderPlaced(f"o-{number}-{each}") for each in range(10)])
            await asyncio.sleep(0.1)

if __name__ == "__main__":
    asyncio.run(load())
"""


def main() -> None:
    """Measure all four."""
    parser = argparse.ArgumentParser(prog="python -m tests.cli.top.measure")
    parser.add_argument("--seconds", type=float, default=30)
    seconds = parser.parse_args().seconds
    shares = [share for queue in ("file", "sqs") for share in _measure(queue, seconds)]
    if max(shares) > MAX_SHARE:
        sys.exit(f"it takes {max(shares):.2%} of a CPU, more than {MAX_SHARE:.0%}")


def _measure(queue: str, seconds: float) -> Iterator[float]:
    with ExitStack() as stack:
        where = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (where / "shop.py").write_text(APP)
        environment = {"DAWDLE_SQLITE_PATH": str(where / "shop.db")}
        if queue == "sqs":
            environment = stack.enter_context(_sqs(where))
        port = free_port()
        worker = ["-m", "dawdle", "worker", "shop:app", "--processes", "2", "--health-port", str(port)]
        process = stack.enter_context(_running(worker, where, environment))
        if not listens(port, process, 60):
            sys.exit(f"the worker does not answer: {(where / 'log').read_text()}")
        stack.enter_context(_running(["shop.py"], where, environment))
        for columns, lines in ((80, 24), (200, 50)):
            command = ("top", "shop:app", "--workers", f"http://127.0.0.1:{port}")
            with running_in_terminal(*command, columns=columns, lines=lines, where=where, **environment) as terminal:
                yield _share(terminal, queue, columns, seconds)


def _share(terminal: Terminal, queue: str, columns: int, seconds: float) -> float:
    terminal.shows(lambda text: _runs_per_second(text) > 20 and "2 workers" in text)
    terminal.read(2)
    process = psutil.Process(terminal.process.pid)
    began, start, written = time.monotonic(), sum(process.cpu_times()[:2]), len(terminal.written)
    terminal.read(seconds)
    took = time.monotonic() - began
    share = (sum(process.cpu_times()[:2]) - start) / took
    pictures = terminal.written[written:].count(b"\x1b[?2026h") / took
    size = (len(terminal.written) - written) / took / 1000
    print(f"{queue}, {columns} columns: {share:.2%} of a CPU, {pictures:.1f} pictures and {size:.1f} kB a second")
    print(terminal.text.rstrip(), flush=True)
    terminal.press("q")
    assert terminal.ends() == 0
    return share


def _runs_per_second(text: str) -> float:
    rows = [line.split() for line in text.splitlines() if line.startswith("receipts.send")]
    return float(rows[0][1].replace(",", "")) if rows and rows[0][1] != "-" else 0.0


@contextmanager
def _sqs(where: Path) -> Iterator[dict[str, str]]:
    port = free_port()
    serve = ["-m", "dawdle.testing.sqs", "--port", str(port), "--queue", "shop", "--dead-letter", "shop-dead"]
    with _running(serve, where, {}) as process:
        if not listens(port, process, 60):
            sys.exit("the SQS test server does not answer")
        url = f"http://127.0.0.1:{port}"
        keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
        yield {**keys, "DAWDLE_SQS_QUEUE_URL": f"{url}/000000000000/shop", "DAWDLE_SQS_ENDPOINT_URL": url}


@contextmanager
def _running(arguments: list[str], where: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DAWDLE_")}
    with (where / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=where,
            env={**inherited, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


if __name__ == "__main__":
    main()
