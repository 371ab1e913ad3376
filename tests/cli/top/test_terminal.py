"""`dawdle top` in a terminal. Each test is a sitting of its own, since a start takes a second."""

import asyncio
import os
import re
import signal
import subprocess
import sys

import msgspec
import pytest

import dawdle
from dawdle.backends.sqlite import SQLite
from tests.cli.top.ports import health_port
from tests.cli.top.snapshots import handler, queue, worker
from tests.ports import free_port, listens

if sys.platform == "win32":
    pytest.skip("it needs a pseudo-terminal", allow_module_level=True)

from tests.cli.top.terminal import running_in_terminal

pytestmark = [pytest.mark.slow, pytest.mark.once]

APP = """
import dawdle, msgspec
from dawdle.backends.sqlite import SQLite

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str

@dawdle.on_event(name="receipts.send")
async def send_receipt(event: OrderPlaced) -> None: ...

@dawdle.on_event(name="shipping.book", retry=dawdle.Retry(max_attempts=1))
async def book_shipping(event: OrderPlaced) -> None:
    raise ConnectionError("away")

app = dawdle.Dawdle(SQLite("shop.db"))
"""

LEFT = b"\x1b[?7h\x1b[?25h\x1b[?1049l"


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


async def signal_orders(path, count):
    async with dawdle.Dawdle(SQLite(path), registry=dawdle.Registry(), start_listener=False) as app:
        await app.signal_many([OrderPlaced(f"o-{number}") for number in range(count)])


@pytest.fixture
def port():
    with health_port() as port:
        port.says(worker(handlers=(handler(recent_failures=1),), queues=(queue(),)))
        yield port


def words(text, first):
    """The values of a row, by the titles of its table."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if line.split()[:1] == [first])
    titles = next(line for line in reversed(lines[:at]) if line.split()[:1] in (["QUEUE"], ["HANDLER"]))
    return dict(zip(re.split(r"  +", titles), re.split(r"  +", lines[at]), strict=True))


def test_a_worker_is_watched_while_it_works_and_when_it_is_killed(tmp_path):
    (tmp_path / "shop.py").write_text(APP)
    health = free_port()
    command = [sys.executable, "-m", "dawdle", "worker", "shop:app", "--health-port", str(health)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        assert listens(health, process, 60), (tmp_path / "log").read_text()
        asyncio.run(signal_orders(tmp_path / "shop.db", 20))
        url = f"http://127.0.0.1:{health}"
        with running_in_terminal("top", "shop:app", "--workers", url, columns=200, where=tmp_path) as terminal:
            before = terminal.settings
            terminal.shows(lambda text: "shipping.book" in text and words(text, "shipping.book")["FAILED"] == "20")
            terminal.shows(lambda text: words(text, "default")["DEAD"] == "20")
            assert words(terminal.text, "shipping.book")["DEAD"] == "20"
            assert words(terminal.text, "receipts.send")["RUNS"] == "20"
            assert words(terminal.text, "default")["WAITING"] == "0"
            process.kill()
            terminal.shows(lambda text: f"{url} does not answer: connection refused" in text)
            assert words(terminal.text, "default")["DEAD"] == "20", "the queue still answers"
            terminal.press("q")
            assert terminal.ends() == 0
            assert terminal.settings == before
            assert LEFT in terminal.written
    finally:
        process.kill()
        process.wait()


def test_keys_sort_pause_and_explain_and_another_size_is_drawn_anew(tmp_path, port):
    with running_in_terminal("top", "--workers", port.url, where=tmp_path) as terminal:
        terminal.shows(lambda text: "receipt" in text and "sort: name" in text)
        assert "P50" in terminal.text
        terminal.press("s")
        terminal.shows(lambda text: "sort: rate" in text)
        terminal.press("?")
        terminal.shows(lambda text: "show or leave this help" in text and "(1 of 2)" in text)
        terminal.press("\x1b[B")
        terminal.shows(lambda text: "show or leave this help" not in text and "(2 of 2)" in text)
        terminal.press("?")
        terminal.shows(lambda text: "receipt" in text)
        terminal.resize(200, 30)
        terminal.shows(lambda text: "EMPTY/MIN" in text and text.splitlines()[29].startswith("q quit"))
        terminal.resize(40, 15)
        terminal.shows(lambda text: "EMPTY/MIN" not in text and "P50" not in text and text.splitlines()[14])
        terminal.press("p")
        terminal.shows(lambda text: "paused" in text)
        port.says(worker(handlers=(handler("another"),)))
        asked = port.asked
        terminal.read(0.5)
        assert port.asked <= asked + 1, "while it is paused it asks nothing"
        assert "another" not in terminal.text
        terminal.press("p")
        terminal.shows(lambda text: "another" in text)
        terminal.press("q")
        assert terminal.ends() == 0


def test_ctrl_c_leaves_a_clean_terminal_and_only_changes_are_written(tmp_path, port):
    with running_in_terminal("top", "--workers", port.url, where=tmp_path, NO_COLOR="1") as terminal:
        before = terminal.settings
        terminal.shows(lambda text: "receipt" in text)
        terminal.read(0.3)
        start = len(terminal.written)
        terminal.read(1)
        written = terminal.written[start:]
        assert len(written) < 600, "of figures that stay as they are, only the time is written again"
        assert b"\x1b[2J" not in written
        terminal.process.send_signal(signal.SIGINT)  # what the terminal's driver sends for the key
        assert terminal.ends() == 130
        assert terminal.settings == before
        assert b"Traceback" not in terminal.written
        assert terminal.written.partition(LEFT)[2].strip() in {b"", b"interrupted", b"\x1b[1minterrupted\x1b[0m"}
        colors = re.findall(rb"\x1b\[[0-9;]*(?:3[0-7]|9[0-7]|38;[0-9;]*)m", terminal.written)
        assert colors == [], "NO_COLOR"


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on_and_sigterm_ends_it(tmp_path, port):
    with running_in_terminal("top", "--workers", port.url, where=tmp_path) as terminal:
        before = terminal.settings
        terminal.shows(lambda text: "receipt" in text)
        assert terminal.settings != before
        terminal.process.send_signal(signal.SIGTSTP)
        terminal.stopped()
        assert terminal.settings == before
        terminal.read(0.02)
        assert terminal.written.endswith(LEFT)
        terminal.process.send_signal(signal.SIGCONT)
        port.says(worker(handlers=(handler("another"),)))
        terminal.shows(lambda text: "another" in text)
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.ends() == 128 + signal.SIGTERM
        assert terminal.settings == before
        assert LEFT in terminal.written
