"""A night with dead letters, by real processes: in a pipe, in a terminal, and with an answer typed.

`python -m pytest tests/cli/dead/journey.py`, on a SQLite file, on the SQS test server and on ministack.
"""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import boto3

from tests.cli.replay import test_replay as replaying
from tests.ports import free_port
from tests.servers import ministack, running

SHOP = """
import asyncio, os, sys
import dawdle, msgspec

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str

@dawdle.on_event(name="book_parcel", retry=dawdle.Retry(max_attempts=1))
async def book_parcel(event: OrderPlaced, ctx: dawdle.Context) -> None:
    if "CARRIER_ANSWERS" not in os.environ:
        raise ConnectionError("the carrier does not answer")
    print("booked", event.order_id, ctx.attempt, flush=True)

@dawdle.on_event(name="send_receipt")
async def send_receipt(event: OrderPlaced, ctx: dawdle.Context) -> None:
    print("receipt", event.order_id, ctx.attempt, flush=True)

def queue():
    if "DAWDLE_SQS_QUEUE_URL" not in os.environ:
        return None
    from dawdle.backends.sqs import SQS
    return SQS(wait=1)  # the journey waits for the last, empty receive

app = dawdle.Dawdle(queue())

async def main(orders):
    async with app:
        for order in orders:
            await app.signal(OrderPlaced(order))
        await app.idle()

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
"""

ORDERS = [f"o-{number}" for number in range(4)]


class Shell:
    """Runs processes in a directory, where the shop is."""

    def __init__(self, where, environment):
        self.where = where
        self.env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | environment
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            self.env.pop(name, None)
        (where / "shop.py").write_text(SHOP)

    def shop(self, *orders, **variables):
        """Signal orders, and handle all that is due; return what the handlers printed."""
        command = [sys.executable, "shop.py", *orders]
        done = subprocess.run(
            command, cwd=self.where, env=self.env | variables, capture_output=True, text=True, timeout=60, check=True
        )
        return sorted(done.stdout.splitlines())

    def piped(self, *arguments):
        command = [sys.executable, "-m", "dawdle", *arguments]
        return subprocess.run(
            command, cwd=self.where, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )

    def typed(self, *arguments, columns=80, answer=None):
        """Run a command in a terminal, and type an answer to its question; return its exit code and what is seen."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        command = [sys.executable, "-m", "dawdle", *arguments]
        process = subprocess.Popen(
            command, cwd=self.where, env=self.env | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        seen, end = b"", time.monotonic() + 60
        try:
            while time.monotonic() < end:
                if not select.select([ours], [], [], 0.1)[0]:
                    continue
                try:
                    more = os.read(ours, 65536)
                except OSError:  # Linux: the process has closed its end
                    more = b""
                if not more:
                    break
                seen += more
                if answer is not None and b"[y/N]" in seen:
                    os.write(ours, answer.encode())
                    answer = None
            code = process.wait(10)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            os.close(ours)
        return code, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode()).replace("\r\n", "\n").replace("\r", "\n")


def night(shell):
    """The carrier does not answer: the letters are looked at, put back once it does, and the last is deleted."""
    assert shell.shop(*ORDERS) == [f"receipt {order} 1" for order in ORDERS]

    listed = shell.piped("dead", "list", "shop:app")
    rows = [line.split("\t") for line in listed.stdout.splitlines()]
    assert [row[3:6] for row in rows[1:]] == [["book_parcel", "1", "ConnectionError: the carrier does not answer"]] * 4
    ids = [row[0] for row in rows[1:]]

    code, seen = shell.typed("dead", "list", "shop:app")
    assert code == 0
    assert all(event_id[:8] in seen for event_id in ids)
    assert all(len(line.rstrip()) <= 80 for line in seen.splitlines())
    assert "not shown, the terminal is too narrow: QUEUE" in seen

    letters = {
        letter["event_id"]: letter
        for letter in json.loads(shell.piped("dead", "list", "--app=shop:app", "--json").stdout)
    }
    assert sorted(letter["message"]["data"]["order_id"] for letter in letters.values()) == ORDERS
    code, seen = shell.typed("dead", "show", "shop:app", ids[0][:10], columns=100)
    order = letters[ids[0]]["message"]["data"]["order_id"]
    assert code == 0
    assert f"OrderPlaced(order_id='{order}')" in seen
    assert f"dawdle dead redrive shop:app {ids[0]} --handler book_parcel" in seen

    code, seen = shell.typed("dead", "redrive", "shop:app", "--handler", "book_parcel", answer="n\n")
    assert code == 130
    assert "Redrive 4 dead letters (4 OrderPlaced for book_parcel)?" in seen
    done = shell.piped("dead", "redrive", "shop:app", ids[0])
    assert (done.returncode, done.stdout) == (0, "1 dead letter redriven\n"), done.stderr
    assert shell.shop(CARRIER_ANSWERS="yes") == [f"booked {order} 1"]

    code, seen = shell.typed("dead", "purge", "shop:app", ids[1], answer="y\n")
    assert code == 0, seen
    assert "1 dead letter deleted" in seen
    code, seen = shell.typed("dead", "redrive", "shop:app", answer="y\n")
    assert code == 0, seen
    assert "Redrive 2 dead letters" in seen
    assert "2 dead letters redriven" in seen
    booked = [f"booked {letters[event_id]['message']['data']['order_id']} 1" for event_id in ids[2:]]
    assert shell.shop(CARRIER_ANSWERS="yes") == sorted(booked)
    assert "no dead letters" in shell.piped("dead", "list", "shop:app").stderr


AWS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


def queues_on(url):
    """Make a queue with a redrive policy, and return the variables that name it."""
    keys = {name.lower(): value for name, value in AWS.items() if name != "AWS_DEFAULT_REGION"}
    sqs = boto3.client("sqs", endpoint_url=url, region_name="us-east-1", **keys)
    dead = sqs.create_queue(QueueName="orders-dead")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "100"})
    queue = sqs.create_queue(QueueName="orders", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    return {"DAWDLE_SQS_QUEUE_URL": queue, "DAWDLE_SQS_ENDPOINT_URL": url, "DAWDLE_SQS_REGION": "us-east-1", **AWS}


def test_a_replay_asks_in_a_terminal_and_shows_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shell = Shell(tmp_path, {})
    (tmp_path / "shop.py").write_text(replaying.SHOP)
    ids = replaying.place(*[("OrderPlaced", f"o-{number}") for number in range(20)])
    command = ("replay", "shop:app", "--from", "audit", "--to", "stats", "--rate", "40/s")
    code, seen = shell.typed(*command, answer="y\n")
    assert code == 0, seen
    assert "Replay 20 events to stats, at this rate in 1 s? [y/N]: y" in seen
    assert "20/20" in seen
    assert "20 events replayed to stats" in seen
    runs, kept = replaying.handled()
    assert {event_id for _, _, event_id, _ in runs} == set(ids)
    assert (len(runs), kept) == (20, 20)


def test_a_night_on_a_file(tmp_path):
    night(Shell(tmp_path, {"DAWDLE_SQLITE_PATH": str(tmp_path / "shop.db")}))


def test_a_night_on_the_sqs_test_server(tmp_path):
    port = free_port()
    serve = [sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port)]
    with running(serve, port, os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}) as url:
        night(Shell(tmp_path, queues_on(url)))


def test_a_night_on_ministack(tmp_path):
    with ministack() as url:
        night(Shell(tmp_path, queues_on(url)))
