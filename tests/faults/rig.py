"""The test rig of a real row: a server in a process of its own, queues, fault rules, a folder for notes.

With `--on-sqlite` the queues are files, and another process looks into them: one that has a SQLite file open must not
open it a second time by another way, since its locks fall when that one is closed.

Workers append a line for everything they do to one file; a line is there completely or not at all.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3

import dawdle
from tests.faults.queues import SQLITE, queue_at
from tests.faults.row import Figures, Scale
from tests.ports import free_port
from tests.servers import ministack, running

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}
UNSET = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_SESSION_TOKEN")


class QueueCounts(NamedTuple):
    """How many messages a queue has."""

    visible: int
    in_flight: int
    delayed: int

    @property
    def all(self) -> int:
        return sum(self)


@dataclass(frozen=True)
class QueuePair:
    """A queue and its dead-letter queue."""

    name: str
    url: str
    dead: str


class Rig:
    """A server and its queues. Its methods block for a millisecond or two."""

    def __init__(self, server: str, folder: Path, *, on_ministack: bool) -> None:
        self.server = server
        self.folder = folder
        self.on_ministack = on_ministack
        self._client: Any = boto3.client("sqs", endpoint_url=server)
        self._pairs = 0
        (folder / "notes").touch()

    def pair(self, *, fifo: bool = False) -> QueuePair:
        """Make a queue and its dead-letter queue."""
        self._pairs += 1
        suffix, kind = (".fifo", {"FifoQueue": "true"}) if fifo else ("", {})
        name = f"orders-{self._pairs}{suffix}"
        dead = self._client.create_queue(QueueName=f"dead-{self._pairs}{suffix}", Attributes=kind)["QueueUrl"]
        arn = self._client.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1000})
        made = self._client.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy, **kind})
        return QueuePair(name, made["QueueUrl"], dead)

    def send(self, url: str, body: str) -> None:
        """Store a body as it is, without dawdle."""
        self._client.send_message(QueueUrl=url, MessageBody=body)

    def counts(self, url: str) -> QueueCounts:
        """Return how many messages a queue has now."""
        names = ("", "NotVisible", "Delayed")
        wanted = [f"ApproximateNumberOfMessages{name}" for name in names]
        found = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=wanted)["Attributes"]
        return QueueCounts(*(int(found[name]) for name in wanted))

    def letters(self, dead: str) -> list[dict[str, Any]]:
        """Receive and delete all dead letters; one that is no JSON object is returned as `{"body": …}`."""
        found: list[dict[str, Any]] = []
        while messages := self._client.receive_message(QueueUrl=dead, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                found.append(_letter(message["Body"]))
                self._client.delete_message(QueueUrl=dead, ReceiptHandle=message["ReceiptHandle"])
        return found

    def add_fault_rule(self, fault: str, **fields: object) -> int:
        """Add a fault rule and return its id; our own server only."""
        return self.control("POST", "faults", {"fault": fault, **fields})["id"]

    def remove_fault_rules(self, number: int | None = None) -> None:
        """Remove one fault rule, or all."""
        self.control("DELETE", "faults" if number is None else f"faults/{number}")

    def fired(self) -> list[dict[str, Any]]:
        """Return every fault that has happened."""
        return self.control("GET", "faults")["fired"]

    def requests(self, operation: str) -> int:
        """Return how many requests of an operation the server had."""
        return self.control("GET", "requests").get(operation, 0)

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Call the control API of our own server."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.server}/_control/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def notes(self) -> Counter[str]:
        """Return how often each line was written by the workers."""
        return Counter((self.folder / "notes").read_text().split("\n")[:-1])

    def log(self) -> list[str]:
        """Return the lines that dawdle logged, here and in workers: `WARNING:dawdle._flow.lease_renewer:…`."""
        return (self.folder / "log").read_text().split("\n")

    def drained(self, figures: Figures, *urls: str, patience: float = 5.0) -> None:
        """Check what must hold after each row: these queues have no message, neither visible nor invisible."""
        left = QueueCounts(0, 0, 0)
        end = time.monotonic() + patience
        for url in urls:
            while (found := self.counts(url)).all and time.monotonic() < end:
                time.sleep(0.1)
            left = QueueCounts(*map(sum, zip(left, found, strict=True)))
        figures.must("left in the queue", left.all, left.all == 0, f"0: {left}")

    def close(self) -> None:
        self._client.close()


class SQLiteRig(Rig):
    """Queues in SQLite files, each of which has its own dead-letter queue."""

    def __init__(self, folder: Path) -> None:
        self.server = ""
        self.folder = folder
        self.on_ministack = False
        self._pairs = 0
        self._turn = threading.Lock()
        command = [sys.executable, "-m", "tests.faults.sqlite_look"]
        self._looker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        (folder / "notes").touch()

    def pair(self) -> QueuePair:
        """Make a file."""
        self._pairs += 1
        url = f"{SQLITE}{self.folder / f'orders-{self._pairs}.db'}"
        self._look(url, "make")
        return QueuePair(f"orders-{self._pairs}", url, url)

    def send(self, url: str, body: str) -> None:
        """Store a body as it is, without dawdle."""
        if faults := self._look(url, "send", body=body):
            raise RuntimeError(f"{url} did not store the body: {faults}")

    def counts(self, url: str) -> QueueCounts:
        """Return how many messages a queue has now."""
        return QueueCounts(*self._look(url, "count"))

    def letters(self, dead: str) -> list[dict[str, Any]]:
        """Receive and delete all dead letters; one that is no JSON object is returned as `{"body": …}`."""
        return [_letter(body) for body in self._look(dead, "letters")]

    def close(self) -> None:
        self._looker.communicate(timeout=30)

    def _look(self, url: str, what: str, **more: str) -> Any:
        assert self._looker.stdin is not None, "it was started with pipes"
        assert self._looker.stdout is not None, "it was started with pipes"
        asked = {"do": what, "path": url.removeprefix(SQLITE), **more}
        with self._turn:
            self._looker.stdin.write(f"{json.dumps(asked)}\n")
            self._looker.stdin.flush()
            return json.loads(self._looker.stdout.readline())


def _letter(body: str) -> dict[str, Any]:
    try:
        letter = json.loads(body)
    except (ValueError, RecursionError):
        return {"body": body}
    return letter if isinstance(letter, dict) else {"body": body}


@contextmanager
def rig(scale: Scale) -> Iterator[Rig]:
    """Run a server for one row: ours, or ministack. SQLite files have none."""
    with credentials(), tempfile.TemporaryDirectory() as folder, _log_in(Path(folder, "log")), ExitStack() as stack:
        made: Rig
        if scale.on_sqlite:
            made = SQLiteRig(Path(folder))
        else:
            server = stack.enter_context(ministack() if scale.on_ministack else our_server())
            made = Rig(server, Path(folder), on_ministack=scale.on_ministack)
        stack.callback(made.close)
        yield made


@contextmanager
def _log_in(path: Path) -> Iterator[None]:
    """Write what dawdle logs, here and in workers, to a file, where a row can read it."""
    log, handler = logging.getLogger("dawdle"), logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    before, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before
        handler.close()


@contextmanager
def our_server() -> Iterator[str]:
    """Run our own server in a process of its own."""
    port = free_port()
    with running([sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port)], port, dict(os.environ)) as url:
        yield url


@contextmanager
def credentials(**more: str) -> Iterator[None]:
    """Set credentials that any test server accepts, and no other environment variable of AWS or dawdle.

    `DAWDLE_SQS_CLIENT` stays: with `aiobotocore` the rows run by botocore's own client.
    """
    before = dict(os.environ)
    for name in before:
        if name in UNSET or (name.startswith("DAWDLE_SQS_") and name != "DAWDLE_SQS_CLIENT"):
            del os.environ[name]
    os.environ.update(ENVIRONMENT | more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def signal_all(url: str, events: Sequence[object], rate: float = float("inf")) -> list[str]:
    """Signal events at no more than a rate, and return their ids."""
    ids: list[str] = []
    async with dawdle.Dawdle(queue_at(url), registry=dawdle.Registry(), start_listener=False) as app:
        started = time.monotonic()
        while len(ids) < len(events):
            ids += await app.signal_many(events[len(ids) : len(ids) + 50])
            await asyncio.sleep(max(0.0, started + len(ids) / rate - time.monotonic()))
    return ids


async def until(true: Callable[[], bool], patience: float, step: float = 0.05) -> float | None:
    """Return after how many seconds something became true; None if it did not in time."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > patience:
            return None
        await asyncio.sleep(step)
    return time.monotonic() - started


def missing(done: Mapping[str, int], names: Sequence[str], ids: Sequence[str]) -> int:
    """Return how many of all `name id` were not written down."""
    return sum(f"{name} {each}" not in done for name in names for each in ids)
