"""No call waits for ever: each one ends within its stated time, whatever the server does or leaves undone."""

import asyncio
import socket
import threading
import time
from contextlib import asynccontextmanager

import pytest

from dawdle.abc import Outgoing
from dawdle.backends.sqs import SQS, _client_set, _connection
from dawdle.backends.sqs._calls import Poll
from dawdle.backends.sqs._connection import Connection
from dawdle.backends.sqs._queue_address import QueueAddress
from dawdle.errors import BackendError
from dawdle.testing import ManualClock
from dawdle.testing.sqs import SQSServer

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("way")]

ANSWER = 0.15
MARGIN = 15.0
"""Seconds, for a busy machine. A call that is not bounded waits for a minute or for ever."""


@asynccontextmanager
async def silence(server):
    server.faults.add("silence")
    yield server.queue_url("orders")


@asynccontextmanager
async def listening(backlog, full=False):
    """A socket on which nobody ever calls accept; full: so many wait there that not even a connection is made."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen(backlog)
        waiting = [socket.socket() for _ in range(4 if full else 0)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(nobody.getsockname())
        await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{nobody.getsockname()[1]}/000000000000/orders"
        for each in waiting:
            each.close()


@asynccontextmanager
async def half_an_answer(stub, head, trickle):
    stub.answer, stub.closes, stub.trickle = head, False, trickle
    yield stub.url


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
WAYS = {
    "no answer": lambda server, stub: silence(server),
    "no accept": lambda server, stub: listening(10),
    "no connection": lambda server, stub: listening(0, full=True),
    "half a head": lambda server, stub: half_an_answer(stub, HEAD[:20], 0),
    "half a body": lambda server, stub: half_an_answer(stub, HEAD + b'{"Messages": [', 0),
    "a drop at a time": lambda server, stub: half_an_answer(stub, HEAD, 0.02),
}
CALLS = {
    "receive": (1, lambda connection, url: connection.receive(Poll(url, limit=10, wait=0, lease=30))),
    "ack": (
        3,
        lambda connection, url: connection.delete(url, ["receipt"]),
    ),
    "read": (
        3,
        lambda connection, url: connection.attributes(url, ["All"]),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("way", WAYS)
async def test_every_call_ends_in_its_time(no_task_is_left, server, stub, way, call):
    times, make = CALLS[call]
    async with WAYS[way](server, stub) as url:
        connection = await Connection(QueueAddress.checked(url, None, None), 20, response_seconds=ANSWER).open()
        start = time.monotonic()
        with pytest.raises(BackendError) as caught:
            await make(connection, url)
        took = time.monotonic() - start
        await connection.close()
        assert time.monotonic() - start < took + MARGIN, "closing waits for nobody"
    assert caught.value.kind == "unavailable"
    assert took < times * ANSWER + MARGIN
    if way == "no answer" and call == "receive":
        assert took > ANSWER / 2


@pytest.mark.slow
async def test_a_poll_is_waited_for_as_long_as_it_waits_and_no_longer(server):
    async with silence(server) as url:
        connection = await Connection(QueueAddress.checked(url, None, None), 20, response_seconds=ANSWER).open()
        start = time.monotonic()
        with pytest.raises(BackendError, match="no answer came in time"):
            await connection.receive(Poll(url, limit=10, wait=1, lease=30))
        assert 1 + ANSWER * 0.9 < time.monotonic() - start < 1 + ANSWER + MARGIN
        await connection.close()


async def test_more_calls_than_connections_do_not_wait_for_ever_either(server, monkeypatch):
    monkeypatch.setattr(_client_set, "MAX_REQUEST_CONNECTIONS", 2)
    async with silence(server) as url:
        connection = await Connection(
            QueueAddress.checked(url, None, None), None, response_seconds=ANSWER, max_attempts=1
        ).open()
        start = time.monotonic()
        calls = [connection.attributes(url, ["All"]) for _ in range(9)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {answer.kind for answer in answers} == {"unavailable"}
        assert time.monotonic() - start < ANSWER + MARGIN
        await connection.close()


async def test_credentials_that_never_come_end_in_time(server, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setattr(_client_set, "CREDENTIALS_SECONDS", 0.1)
    async with listening(10) as url:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        with pytest.raises(BackendError, match=r"^no answer came in time \(creating the client for .*\)$") as caught:
            async with SQS(server.queue_url("orders")):
                pass
    assert caught.value.kind == "unavailable"


def test_the_stated_times():
    assert (_connection.RESPONSE_SECONDS, _connection.MAX_ATTEMPTS) == (10, 3)


def renewing(queue, receipts, answers):
    """Renew in a thread of its own with a loop of its own, as whoever keeps the leases does."""

    async def main():
        async with queue.renewer() as renew:
            try:
                answers.append(await renew(receipts))
            except BackendError as error:
                answers.append(error)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    return thread


@pytest.fixture
def far_server():
    """A server in a thread of its own, so that it answers while the test's own loop is blocked; and its clock."""
    ready, ends = threading.Event(), threading.Event()
    found = []

    async def main():
        loop, clock = asyncio.get_running_loop(), ManualClock()

        def advance(seconds):
            asyncio.run_coroutine_threadsafe(clock.advance(seconds), loop).result(60)

        async with SQSServer(queues=("orders",), clock=clock) as server:
            found.extend((server, advance))
            ready.set()
            while not ends.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    ready.wait(60)
    yield found
    ends.set()
    thread.join(60)


@pytest.mark.slow
async def test_a_renewer_renews_in_its_own_thread_while_this_loop_is_blocked(far_server):
    server, advance = far_server
    async with SQS(server.queue_url("orders"), lease=30) as queue:
        await queue.send([Outgoing(b"one")])
        (delivery,) = await queue.receive(1, 0)
        answers = []
        for _ in range(3):
            advance(20)
            thread = renewing(queue, [delivery.receipt, "stranger"], answers)
            thread.join(60)  # this loop is blocked meanwhile, which is the point
            assert not thread.is_alive(), "the renewal needs this loop"
        assert [[fault and fault.kind for fault in faults] for faults in answers] == [[None, "lost"]] * 3
        assert await queue.receive(1, 0) == [], "60 s later the lease of 30 s holds"
        assert await queue.ack([delivery.receipt]) == [None]


@pytest.mark.slow
async def test_a_renewer_asks_once_and_waits_for_a_third_of_a_lease_at_most(server):
    async with SQS(server.queue_url("orders"), lease=6) as queue, queue.renewer() as renew:
        rule = server.faults.add("server_error")
        with pytest.raises(BackendError):
            await renew(["receipt"])
        assert rule.fired == 1
        server.faults.clear()
        rule = server.faults.add("silence")
        start = time.monotonic()
        with pytest.raises(BackendError) as caught:
            await renew(["receipt"])
        assert 1.9 < time.monotonic() - start < 2 + MARGIN
        assert (caught.value.kind, rule.fired) == ("unavailable", 1)
