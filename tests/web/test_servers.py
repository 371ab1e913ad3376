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

    def wait_for(self, *order_ids):
        self.wait(lambda: set(order_ids) <= {line.split()[0] for line in self.lines()}, "handled")

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


@pytest.fixture
def serve(tmp_path):
    """Start a server, given its arguments; `{port}` among them is a free one."""

    @contextmanager
    def start(*arguments, cwd=ROOT, ready=200, **environment):
        port = free_port()
        log, journal = tmp_path / "log", tmp_path / "journal"
        env = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path[1:]]),
            "DAWDLE_SQLITE_PATH": str(tmp_path / "app.db"),
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

    return start


UVICORN = ("uvicorn", "--port", "{port}", "--timeout-graceful-shutdown", "2", "tests.web.shop:web")


def test_uvicorn(serve):
    with serve(*UVICORN) as server:
        assert httpx.post(f"{server.url}/orders", json={"order_id": "o-1"}).status_code == 202
        server.wait_for("o-1")
        httpx.post(f"{server.url}/orders", json={"order_id": "o-2", "total": 1})
        assert server.stop()
        assert "o-2" in [line.split()[0] for line in server.lines()], "the handler had its grace"
    assert "Traceback" not in server.log.read_text()


def test_a_factory_and_several_workers_of_uvicorn(serve):
    arguments = ("uvicorn", "--port", "{port}", "--factory", "--workers", "2", "tests.web.shop:make_web")
    with serve(*arguments) as server:
        orders = server.place(50)
        server.wait_for(*orders)
        assert server.stop()
    assert "Traceback" not in server.log.read_text()
    assert set(Counter(line.split()[0] for line in server.lines()).values()) == {1}


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_several_workers_of_gunicorn_share_a_queue(serve, preload):
    arguments = (
        *("gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "3", *preload),
        *("--worker-class", "uvicorn_worker.UvicornWorker", "tests.web.shop:web"),
    )
    with serve(*arguments) as server:
        orders = server.place(50)
        server.wait_for(*orders)
        assert server.stop()
    runs = [line.split() for line in server.lines()]
    assert Counter(order_id for order_id, _ in runs) == Counter(orders)
    assert len({pid for _, pid in runs}) > 1
    assert "Traceback" not in server.log.read_text()


def test_a_reload_loses_nothing(serve, tmp_path):
    module = tmp_path / "shop_that_changes.py"
    module.write_text("from tests.web.shop import web\n")
    arguments = ("uvicorn", "--port", "{port}", "--reload", "--reload-dir", str(tmp_path), "shop_that_changes:web")
    with serve(*arguments, cwd=tmp_path) as server:
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


def test_a_client_that_disconnects_in_mid_request_loses_nothing(serve):
    with serve(*UVICORN) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.url}/orders/slowly", json={"order_id": "o"}, timeout=0.3)
        server.wait_for("o-0", "o-1", "o-2")
        time.sleep(0.2)
        assert len(server.lines()) == 3
        assert httpx.get(f"{server.url}/ready").status_code == 200


def test_a_reader_that_leaves_ends_its_stream(serve):
    with serve(*UVICORN) as server:
        with httpx.stream("GET", f"{server.url}/events", timeout=SECONDS) as answer:
            lines = answer.iter_lines()
            assert next(lines) == ": watching"
            httpx.post(f"{server.url}/orders", json={"order_id": "o-1"})
            assert next(line for line in lines if line) == "data: o-1"
        server.wait(lambda: "the reader has left" in server.lines(), "left")
        assert server.stop()


def test_a_websocket_signals(serve):
    with serve(*UVICORN) as server:
        with connect(f"{server.url.replace('http', 'ws')}/orders") as ws:
            ws.send("o-1")
            assert ws.recv(SECONDS) == "o-1"
        server.wait_for("o-1")


def test_a_web_app_whose_queue_cannot_be_reached_comes_up_and_says_so(serve, tmp_path):
    environment = {
        "DAWDLE_SQLITE_PATH": "",
        "DAWDLE_SQS_QUEUE_URL": f"http://127.0.0.1:{free_port()}/000000000000/orders",
        "DAWDLE_SQS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "DAWDLE_START_LISTENER": "no",
    }
    with serve(*UVICORN, ready=503, **environment) as server:
        server.wait(lambda: "ConnectionRefusedError" in httpx.get(f"{server.url}/ready").text, "cause")
        assert httpx.get(f"{server.url}/live").status_code == 200
        answer = httpx.post(f"{server.url}/orders", json={"order_id": "o-1"}, timeout=SECONDS)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert server.stop()
    log = server.log.read_text()
    assert "Traceback" not in log
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1' in log
    assert "The web app has started, and its /ready answers 503 until the queue can be reached" in log


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
