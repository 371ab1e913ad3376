"""A day with the commands that have no journey of their own: real processes, on a file and on the SQS test server, in a
pipe and in a terminal. Run it: pytest tests/cli/journey.py, or nox -s cli.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import dawdle
from tests.pictures.terminal import printed
from tests.ports import free_port, listens

DAWDLE = (sys.executable, "-m", "dawdle")
SECONDS = 60

SHOP = """
import dawdle, msgspec

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0

@dawdle.on_event(name="send_receipt", timeout=30)
async def send_receipt(event: OrderPlaced) -> None:
    print("receipt", event.order_id, flush=True)

app = dawdle.Dawdle(grace=5)
"""


@pytest.fixture(params=["file", "sqs"])
def place(request, tmp_path):
    """A shop in a directory, and the variables of its queue."""
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "pyproject.toml").write_text('[tool.dawdle]\napp = "shop:app"\n')
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DAWDLE_", "AWS_"))}
    env["PYTHONPATH"] = str(Path(dawdle.__file__).parents[1])
    if request.param == "file":
        yield tmp_path, {**env, "DAWDLE_SQLITE_PATH": "app.db"}
        return
    port = free_port()
    command = [*DAWDLE, "sqs", "serve", "--port", str(port), "--queue", "shop"]
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert listens(port, server, SECONDS)
        exported = {}
        while (line := server.stdout.readline()).startswith(("export", "#")):
            exported |= dict(re.findall(r"^export (\w+)=(\S+)$", line))
            if line.startswith("# Stop"):
                break
        yield tmp_path, {**env, **exported}
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=SECONDS)
    assert server.returncode == 0


@pytest.fixture(params=["pipe", "terminal"])
def run(request, place):
    """Run a command, and return what it printed; its exit code must be 0."""
    where, env = place

    def in_pipe(*args, stdin=None):
        done = subprocess.run(
            [*DAWDLE, *args],
            cwd=where,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def in_terminal(*args, stdin=None):
        if stdin is not None:  # a terminal is not where lines come from
            return in_pipe(*args, stdin=stdin)
        return re.sub(
            r"\x1b\[[0-9;?]*[A-Za-z]", "", printed([*DAWDLE, *args], columns=100, where=where, environment=env)
        )

    return in_pipe if request.param == "pipe" else in_terminal


@contextmanager
def working(place):
    where, env = place
    worker = subprocess.Popen([*DAWDLE, "worker"], cwd=where, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate(timeout=SECONDS)


def test_a_day_in_the_shell(place, run):
    where, _ = place
    assert "send_receipt" in run("handlers")
    assert "order_id: str" in run("events")
    run("schema", "snapshot")
    run("schema", "check")
    assert json.loads((where / "dawdle-schema.json").read_text())
    one = run("signal", "OrderPlaced", '{"order_id": "o-0"}')
    assert re.search(r"[0-9a-f]{32}", one)
    lines = "".join(f'{{"order_id": "o-{number}"}}\n' for number in range(1, 300))
    assert len(run("signal", "OrderPlaced", stdin=lines).split()) == 299
    run("check")
    with working(place) as worker:
        handled = set()
        end = time.monotonic() + SECONDS
        while len(handled) < 300 and time.monotonic() < end:
            handled.add(worker.stdout.readline())
        worker.send_signal(signal.SIGTERM)
        _, said = worker.communicate(timeout=SECONDS)
    assert handled == {f"receipt o-{number}\n".encode() for number in range(300)}
    assert worker.returncode == 0, said
    assert json.loads(subprocess_json(place, "dead", "list", "--json")) == []


def subprocess_json(place, *args):
    where, env = place
    return subprocess.run([*DAWDLE, *args], cwd=where, env=env, capture_output=True, check=True, timeout=SECONDS).stdout
