"""The door for FastAPI in the servers of production: real processes, real sockets, a queue in a SQLite file."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.ports import free_port

pytestmark = [pytest.mark.once, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SECONDS = 30
"""Seconds that a server may take to start, to handle, or to stop."""


class Server:
    def __init__(self, process, url, journal, log):
        self.process = process
        self.url = url
        self.journal = journal
        self.log = log

    def lines(self):
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def wait(self, is_so, what):
        until = time.monotonic() + SECONDS
        while not is_so():
            assert time.monotonic() < until, f"{what}: {self.lines()}\n{self.log.read_text()}"
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def handled(self):
        return [line.split()[0] for line in self.lines()]

    def wait_for(self, *order_ids):
        self.wait(lambda: set(order_ids) <= set(self.handled()), "handled")

    def place(self, count):
        """Place orders over connections of their own, so that all workers get some, and return their ids."""
        orders = [f"o-{number}" for number in range(count)]
        with httpx.Client(headers={"connection": "close"}) as client:
            for order_id in orders:
                assert client.post(f"{self.url}/orders", json={"order_id": order_id}).status_code == 202
        return orders

    def is_ready(self, status=200):
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == status
        except httpx.TransportError:
            return False

    def stop(self):
        """Stop it as an orchestrator does. uvicorn raises the signal again when all is done."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS) in {0, -signal.SIGTERM}


@contextmanager
def serving(folder, *arguments, cwd=ROOT, ready=200, **environment):
    """Run a server, given its arguments; `{port}` among them is a free one."""
    port = free_port()
    log, journal = folder / "log", folder / "journal"
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
        "DAWDLE_SQLITE_PATH": str(folder / "app.db"),
        "JOURNAL": str(journal),
        **environment,
    }
    command = [sys.executable, "-m", *(each.format(port=port) for each in arguments)]
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdout=out, stderr=out)
    server = Server(process, f"http://127.0.0.1:{port}", journal, log)
    try:
        server.wait(lambda: server.is_ready(ready), "ready")
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


UVICORN = ("uvicorn", "--port", "{port}", "--timeout-graceful-shutdown", "2", "tests.web.shop:web")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One process of uvicorn for several tests; each has orders of its own."""
    with serving(tmp_path_factory.mktemp("shop"), *UVICORN) as server:
        yield server
        httpx.post(f"{server.url}/orders", json={"order_id": "last", "total": 1})
        assert server.stop()
        assert "last" in server.handled(), "the handler had its grace"
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("uvicorn", "--port", "{port}", "tests.web.others:starlette"),
        ("uvicorn", "--port", "{port}", "tests.web.others:litestar"),
        ("tests.web.others", "{port}"),
    ],
    ids=["starlette", "litestar", "aiohttp"],
)
def test_other_frameworks(arguments, tmp_path):
    with serving(tmp_path, *arguments) as server:
        assert httpx.post(f"{server.url}/orders", json={"order_id": "o-1"}).status_code == 202
        server.wait_for("o-1")
        assert httpx.get(f"{server.url}/live").json() == {"status": "live"}
        assert server.stop()
    assert "Traceback" not in server.log.read_text()


def test_a_factory_and_several_workers_of_uvicorn(tmp_path):
    arguments = ("uvicorn", "--port", "{port}", "--factory", "--workers", "2", "tests.web.shop:make_web")
    with serving(tmp_path, *arguments) as server:
        orders = server.place(50)
        server.wait_for(*orders)
        assert server.stop()
    assert "Traceback" not in server.log.read_text()
    assert set(Counter(server.handled()).values()) == {1}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_several_workers_of_gunicorn_share_a_queue(tmp_path, preload):
    arguments = (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2", *preload),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "tests.web.shop:web"),
    )
    with serving(tmp_path, *arguments) as server:
        orders = server.place(50)
        server.wait_for(*orders)
        assert server.stop()
    runs = [line.split() for line in server.lines()]
    assert Counter(order_id for order_id, _ in runs) == Counter(orders)
    assert len({pid for _, pid in runs}) > 1
    assert "Traceback" not in server.log.read_text()


def test_a_reload_loses_nothing(tmp_path):
    module = tmp_path / "shop_that_changes.py"
    module.write_text("from tests.web.shop import web\n")
    arguments = ("uvicorn", "--port", "{port}", "--reload", "--reload-dir", str(tmp_path), "shop_that_changes:web")
    with serving(tmp_path, *arguments, cwd=tmp_path) as server:
        first = httpx.post(f"{server.url}/orders", json={"order_id": "o-1", "total": 2}).json()["pid"]
        module.write_text("from tests.web.shop import web\n\nCHANGED = True\n")

        def is_new():
            try:
                return httpx.post(f"{server.url}/orders", json={"order_id": "o-2"}, timeout=5).json()["pid"] != first
            except httpx.TransportError:
                return False

        server.wait(is_new, "reloaded")
        server.wait_for("o-1", "o-2")
        server.stop()


def test_a_client_that_disconnects_in_mid_request_loses_nothing(shop):
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{shop.url}/orders/slowly", json={"order_id": "cut"}, timeout=0.3)
    shop.wait_for("cut-0", "cut-1", "cut-2")
    time.sleep(0.2)
    assert [order_id for order_id in shop.handled() if order_id.startswith("cut")] == ["cut-0", "cut-1", "cut-2"]
    assert httpx.get(f"{shop.url}/ready").status_code == 200


def test_a_reader_that_leaves_ends_its_stream(shop):
    with httpx.stream("GET", f"{shop.url}/events", timeout=SECONDS) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": watching"
        httpx.post(f"{shop.url}/orders", json={"order_id": "shown"})
        assert next(line for line in lines if line) == "data: shown"
    shop.wait(lambda: "the reader has left" in shop.lines(), "left")


def test_a_websocket_signals(shop):
    with connect(f"{shop.url.replace('http', 'ws')}/orders") as ws:
        ws.send("by-socket")
        assert ws.recv(SECONDS) == "by-socket"
    shop.wait_for("by-socket")


def test_a_web_app_whose_queue_cannot_be_reached_comes_up_and_says_so(tmp_path):
    environment = {
        "DAWDLE_SQLITE_PATH": "",
        "DAWDLE_SQS_QUEUE_URL": f"http://127.0.0.1:{free_port()}/000000000000/orders",
        "DAWDLE_SQS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "DAWDLE_START_LISTENER": "no",
    }
    with serving(tmp_path, *UVICORN, ready=503, **environment) as server:
        server.wait(lambda: "ConnectionRefusedError" in httpx.get(f"{server.url}/ready").text, "cause")
        assert httpx.get(f"{server.url}/live").status_code == 200
        answer = httpx.post(f"{server.url}/orders", json={"order_id": "o-1"}, timeout=SECONDS)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert server.stop()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1' in log
    assert "The start goes on, and /ready answers 503 until the queue can be reached" in log


def test_a_web_app_that_cannot_start_says_why_in_its_first_line(tmp_path):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
        "DAWDLE_SQLITE_PATH": "/nonexistent/app.db",
        "JOURNAL": str(tmp_path / "journal"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "uvicorn", "--port", "0", "--log-level", "error", "tests.web.shop:web"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert done.returncode == 3
    first = done.stderr.splitlines()[0]
    assert first.startswith("cannot open /nonexistent/app.db: there is no directory /nonexistent. So the web app does")
