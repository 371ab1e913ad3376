"""Signed messages over SQS: what a stranger puts into the queue is dead-lettered, and nothing secret is told of it."""

import asyncio
import base64
import logging
import traceback

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, SignalError
from dawdle._rules.signing import Signer
from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import SQSServer

pytestmark = pytest.mark.anyio

NEW, OLD = "n" * 32, "o" * 32
CANARY = "canary-7f3a"


class Placed(msgspec.Struct, frozen=True):
    number: int = 0
    secret: str = ""


def body_of(number, **attributes):
    return msgspec.json.encode(
        {"specversion": "1.0", "id": f"e-{number}", "source": "/shop", "type": "Placed", **attributes}
        | {"data": {"number": number}}
    )


@pytest.fixture
async def server():
    async with SQSServer() as server:
        server.create_queue("orders", dead_letter="dead", max_receives=1000)
        yield server


async def letters_in(server, count):
    """Return the letters in the dead-letter queue, once there are as many."""
    async with SQS(server.queue_url("dead"), wait=1) as dead, asyncio.timeout(60):
        found = []
        while len(found) < count:
            deliveries = await dead.receive(10, 1)
            await dead.ack([each.receipt for each in deliveries])
            found.extend(msgspec.json.decode(each.body) for each in deliveries)
        return found


@pytest.mark.slow
async def test_what_a_stranger_or_a_forger_sent_does_not_run_and_what_an_old_key_signed_does(server):
    registry, seen = Registry(), []

    @registry.on_event(Placed)
    async def handler(event):
        seen.append(event.number)

    signed = Signer({"new": NEW}).sign(body_of(1))
    strange = {
        body_of(2): "the message is not signed",
        signed.replace(b'"number":1', b'"number":3'): "the signature is wrong",
        signed.replace(b'"new:', b'"old:'): "the signature is wrong",
        Signer({"new": "x" * 32}).sign(body_of(4)): "the signature is wrong",
        Signer({"gone": NEW}).sign(body_of(5)): "signed with the key 'gone', and this app knows new, old",
    }
    async with SQS(server.queue_url("orders")) as hands_on:
        good = [signed, Signer({"old": OLD}).sign(body_of(6))]
        assert await hands_on.send([Outgoing(body) for body in (*strange, *good)]) == [None] * 7
    app = Dawdle(SQS(server.queue_url("orders"), wait=1), registry=registry, signing_keys={"new": NEW, "old": OLD})
    async with app:
        letters = await letters_in(server, len(strange))
    assert sorted(seen) == [1, 6]
    assert len(letters) == len(strange)
    for letter in letters:
        assert letter["type"] == "dawdle.undecodable"
        assert letter["dawdlesignature"].startswith("new:")
        assert strange[base64.b64decode(letter["data_base64"])] in letter["dawdleerror"]
    assert len(server.queue("orders")) == 0


@pytest.mark.slow
async def test_neither_credentials_nor_keys_nor_bodies_are_told(server, monkeypatch, caplog, capfd):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"AKIA{CANARY}")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", CANARY)
    for name in ("dawdle", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    monkeypatch.setattr(loop, "slow_callback_duration", 0.0)
    registry, moments, told = Registry(), [], []

    @registry.on_event(Placed)
    async def handler(event, ctx: Context):
        told.extend([repr(ctx), repr(app), repr(app.health()), repr(app._settings)])
        if event.number == 2:
            raise ConnectionError("the mail server is away")

    keys = {"new": CANARY * 4}
    queue = SQS(server.queue_url("orders"), wait=1)
    async with Dawdle(queue, registry=registry, signing_keys=keys, hooks=[moments.append], grace=2) as app:
        await app.signal_many([Placed(number, CANARY) for number in range(3)])
        async with SQS(server.queue_url("orders")) as hands_on:
            await hands_on.send([Outgoing(body_of(7, trace=CANARY)), Outgoing(CANARY.encode())])
        await letters_in(server, 2)
        server.faults.add("access_denied")
        with pytest.raises(SignalError) as caught:
            await app.signal(Placed(8, CANARY))
        await asyncio.sleep(0.3)
        told.append("".join(traceback.format_exception(caught.value)))
    loop.set_debug(False)
    logged = [
        logging.Formatter().format(each) for each in caplog.records if each.name.startswith(("dawdle", "asyncio"))
    ]
    everything = "\n".join([*logged, *capfd.readouterr(), *map(repr, moments), *told, repr(queue)])
    assert "the mail server is away" in everything
    assert "AccessDenied" in everything
    assert "Executing <Task" in everything
    assert CANARY not in everything
