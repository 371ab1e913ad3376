"""A type changes while its events are in the queue: processes with the old code and the new, on one SQLite file."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import dawdle

pytestmark = [pytest.mark.once, pytest.mark.slow]

LONGEST = 60
"""Seconds for one step; on a busy machine an interpreter takes ten to start."""

COUNT = 5

OLD = """
import sys
from pathlib import Path

import msgspec

import dawdle
from dawdle.backends.sqlite import SQLite

WHO, HERE = Path(__file__).parent.name, Path(__file__).parent.parent


@dawdle.event("orders.placed")
class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int


def note(name, text):
    with (HERE / name).open("a") as file:
        file.write(text + "\\n")


@dawdle.on_event(name="book")
async def book(event: OrderPlaced) -> None:
    note("booked", f"{WHO} {event.order_id} {msgspec.json.encode(event).decode()}")


def watch(moment):
    if isinstance(moment, dawdle.hooks.Forwarded) and moment.why == "unclaimed":
        note("left", f"{WHO} {moment.event_id}")


app = dawdle.Dawdle(SQLite(HERE / "app.db"), hooks=[watch])

if __name__ == "__main__":
    app.run()
"""

BROKEN = OLD.replace("    total: int\n", "    cents: int\n")

MENDED = BROKEN.replace("OrderPlaced", "PlacedOrder").replace(  # what the class is called is no matter
    '@dawdle.event("orders.placed")\n',
    'def upcast(data):\n    data["cents"] = data.pop("total") * 100\n    return data\n\n\n'
    '@dawdle.event("orders.placed", version=2, upcasters={1: upcast})\n',
)


class Place:
    """A directory with one version of the code."""

    def __init__(self, path, source):
        path.mkdir()
        self.path = path
        self.environment = {**os.environ, "PYTHONPATH": str(Path(dawdle.__file__).parents[1])}
        self.write(source)

    def write(self, source):
        (self.path / "shop.py").write_text(source)

    def dawdle(self, *arguments, stdin=""):
        command = [sys.executable, "-m", "dawdle", *arguments]
        return subprocess.run(  # noqa: PLW1510 - the caller looks at the exit code
            command, cwd=self.path, env=self.environment, input=stdin, capture_output=True, text=True, timeout=LONGEST
        )

    @contextmanager
    def worker(self):
        with subprocess.Popen([sys.executable, "shop.py"], cwd=self.path, env=self.environment) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(LONGEST) == 0


def orders(name, field):
    """Lines for `dawdle signal`."""
    events = ({"type": "orders.placed", "data": {"order_id": f"{name}{n}", field: n}} for n in range(COUNT))
    return "".join(json.dumps(each) + "\n" for each in events)


def wait_for(condition, what):
    end = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_what_the_old_code_signaled_the_new_code_reads_and_the_old_leaves_what_is_newer(tmp_path):
    old, new = Place(tmp_path / "old", OLD), Place(tmp_path / "new", OLD)
    assert old.dawdle("schema", "snapshot", "shop:app", "--file", "../dawdle-schema.json").returncode == 0
    # The change that was made first would lose them, and the check says so before the deploy.
    new.write(BROKEN)
    check = ("schema", "check", "shop:app", "--file", "../dawdle-schema.json")
    found = new.dawdle(*check, "--json")
    assert found.returncode == 1, found.stderr
    (added,) = [each for each in json.loads(found.stdout) if each["severity"] == "error"]
    assert (added["rule"], added["what"]) == ("schema.field-added", "cents: int is new, without a default")
    assert 'version=2, upcasters={1: upcast}) with def upcast(data): data["cents"] = data.pop("total")' in added["fix"]

    new.write(MENDED)
    found = new.dawdle(*check)
    assert found.returncode == 0, found.stdout
    assert "schema.upcasters-unseen" in found.stdout

    # The deploy: new code signals while a worker with the old code still listens. It leaves what is newer to others.
    signaled = new.dawdle("signal", "shop:app", stdin=orders("b", "cents"))
    assert signaled.returncode == 0, signaled.stderr
    newer = {f"old {each}" for each in signaled.stdout.split()}
    assert len(newer) == COUNT
    with old.worker():
        wait_for(lambda: newer <= set(lines(tmp_path / "left")), "the old worker has left all that is newer")
    assert lines(tmp_path / "booked") == []

    # The last act of the old code.
    signaled = old.dawdle("signal", "shop:app", stdin=orders("a", "total"))
    assert signaled.returncode == 0, signaled.stderr
    with new.worker():
        wait_for(lambda: len(lines(tmp_path / "booked")) >= 2 * COUNT, "every event is booked")
    booked = sorted(line.split(" ", 1)[1] for line in lines(tmp_path / "booked"))
    assert booked == [
        *(f'a{n} {{"order_id":"a{n}","cents":{n * 100}}}' for n in range(COUNT)),
        *(f'b{n} {{"order_id":"b{n}","cents":{n}}}' for n in range(COUNT)),
    ]
