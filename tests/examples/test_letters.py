"""The script that lists and redrives dead letters, run as a reader runs it, with the permissions of its guide."""

import asyncio
import os
import re
import sys
from pathlib import Path

import msgspec
import pytest

from dawdle import Dawdle, Registry, Retry
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer

pytestmark = [pytest.mark.anyio, pytest.mark.once, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/guides/dead-letters.md").read_text(encoding="utf-8")
OPERATIONS = (
    *("SendMessage", "SendMessageBatch", "ReceiveMessage", "DeleteMessage", "DeleteMessageBatch"),
    *("ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueAttributes", "GetQueueUrl"),
)


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0


@pytest.fixture
async def server(monkeypatch):
    async with SQSServer() as server:
        server.create_queue("orders", dead_letter="orders-dead")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAWDLE_SQS_DEAD_LETTER_URL", raising=False)
        yield server


async def give_up(server):
    """Give two handlers up on an order each."""
    registry = Registry()

    @registry.on_event(OrderPlaced, name="orders.handlers.book_shipping", retry=Retry(max_attempts=1))
    async def book_shipping(event):
        raise ConnectionError("the carrier does not answer")

    @registry.on_event(OrderPlaced, name="orders.handlers.send_receipt", retry=Retry(max_attempts=1))
    async def send_receipt(event):
        raise ValueError("no address")

    async with Dawdle(SQS(server.queue_url("orders"), wait=1), registry=registry, grace=3) as app:
        await app.signal_many([OrderPlaced("o-1", 100), OrderPlaced("o-2", 200)])
        async with asyncio.timeout(60):
            while len(server.queue("orders-dead")) < 4:
                await asyncio.sleep(0.01)


async def script(*arguments):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "orders.letters", *arguments),
        cwd=ROOT / "examples",
        env=dict(os.environ) | {"DAWDLE_BACKEND": "sqs", "NO_PROXY": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        printed, told = await process.communicate()
    assert (process.returncode, told) == (0, b"")
    return printed.decode()


def allowed():
    """What the guide's policy allows, by queue."""
    (text,) = re.findall(r"^```json\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    statements = msgspec.json.decode(text)["Statement"]
    return {
        each["Resource"].rpartition(":")[2]: {
            action.removeprefix("sqs:")
            for action in (each["Action"] if isinstance(each["Action"], list) else [each["Action"]])
        }
        for each in statements
    }


async def test_the_script_lists_redrives_and_purges_with_the_permissions_of_its_guide(server):
    await give_up(server)
    policy = allowed()
    assert set(policy) == {"orders", "orders-dead"}
    for queue in policy:
        for operation in OPERATIONS:
            if operation.removesuffix("Batch") not in policy[queue]:
                server.faults.add("access_denied", operation=operation, queue=queue)
    listed = await script()
    assert len(re.findall(r"orders\.handlers\.book_shipping, attempt 1: ConnectionError: the carrier", listed)) == 2
    assert len(re.findall(r"^    OrderPlaced\(order_id='o-\d', total=\d00\)$", listed, re.MULTILINE)) == 4
    assert server.queue("orders-dead").visible == 4

    assert await script("--redrive", "orders.handlers.book_shipping") == "redriven: 2\n"
    assert (len(server.queue("orders")), len(server.queue("orders-dead"))) == (2, 2)
    owed = {msgspec.json.decode(message.body)["dawdleowed"] for message in server.queue("orders").messages()}
    assert owed == {"orders.handlers.book_shipping"}

    assert await script("--purge", "1") == "purged: 0\n"
    assert await script("--purge", "0") == "purged: 2\n"
    assert len(server.queue("orders-dead")) == 0
