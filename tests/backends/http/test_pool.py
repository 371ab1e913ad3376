"""How requests share connections: few, the last used first, in order of arrival, and none lost with a request."""

import asyncio
import gc
import weakref

import pytest
from tests.backends.http.scripted import answers, client_of, echo, head, serving, until, whole

from dawdle.backends._http import (
    HttpBrokenError,
    HttpClient,
    HttpConnectError,
    HttpError,
    HttpPoolTimeoutError,
    _client,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_is_left")]


def ask(client, body=b"", seconds=5):
    return client.request(head(len(body)), body, seconds)


async def test_the_request_arrives_as_it_is_given():
    async def script(peer):
        server.requests.append(await peer.request())
        await peer.send(whole())

    async with serving(script) as server, client_of(server) as client:
        await ask(client, b"\x00body\r\n")
        assert server.requests == [head(7) + b"\x00body\r\n"]


async def test_no_connection_is_opened_before_the_first_request():
    async with serving(echo) as server, client_of(server):
        await asyncio.sleep(0.01)
        assert server.accepted == 0


async def test_one_connection_carries_one_request_after_another():
    async with serving(echo) as server, client_of(server) as client:
        for number in range(20):
            assert (await ask(client, b"%d" % number)).body == b"%d" % number
        assert server.accepted == 1


async def test_twenty_at_once_get_each_their_own_answer():
    async with serving(echo) as server, client_of(server, max_connections=7) as client:
        bodies = [b"%d" % number * number for number in range(200)]
        assert [each.body for each in await asyncio.gather(*(ask(client, body) for body in bodies))] == bodies
        assert server.accepted == 7
        assert server.open == 7


async def test_the_connection_used_last_is_used_next():
    async def script(peer):
        while True:
            await peer.request()
            await peer.send(whole(b"%d" % peer.number))

    async with serving(script) as server, client_of(server) as client:
        await asyncio.gather(*(ask(client) for _ in range(3)))
        first = (await ask(client)).body
        assert [(await ask(client)).body for _ in range(5)] == [first] * 5


async def test_requests_wait_in_order_of_arrival():
    async def script(peer):
        while True:
            server.requests.append((await peer.request())[-1:])
            await peer.send(whole())

    async with serving(script) as server, client_of(server, max_connections=1) as client:
        tasks = [asyncio.create_task(ask(client, b"%d" % number)) for number in range(8)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        await asyncio.wait(tasks)
        assert server.requests == [b"0", b"1", b"2", b"4", b"5", b"6", b"7"]
        assert server.accepted == 1


async def test_a_request_in_line_takes_the_place_of_a_connection_that_ends():
    async with (
        serving(answers(whole(b"", b"200 OK", b"Connection: close"))) as server,
        client_of(server, max_connections=1) as client,
    ):
        await asyncio.gather(*(ask(client) for _ in range(5)))
        assert server.accepted == 5


async def test_a_request_in_line_opens_its_own_after_a_failed_connect():
    async with serving(echo) as server:
        port, server.port = server.port, 1
        async with client_of(server, max_connections=1) as client:
            results = await asyncio.gather(*(ask(client) for _ in range(3)), return_exceptions=True)
            assert [type(each) for each in results] == [HttpConnectError] * 3
            client._connector._port = port  # the server is back
            assert (await ask(client, b"now")).body == b"now"


async def test_waiting_in_line_ends_at_the_deadline_and_nothing_is_sent():
    async def script(peer):
        server.requests.append(await peer.request())
        await peer.gone()

    async with serving(script) as server, client_of(server, max_connections=1) as client:
        blocked = asyncio.create_task(ask(client))
        await until(lambda: server.requests)
        with pytest.raises(HttpPoolTimeoutError, match=r"all 1 connections were in use for 0\.05 seconds") as caught:
            await ask(client, b"", 0.05)
        assert not caught.value.sent
        assert not blocked.done()
        blocked.cancel()
        await asyncio.wait([blocked])
        assert len(server.requests) == 1


async def test_a_cancelled_request_closes_its_connection():
    async def script(peer):
        await peer.request()
        server.requests.append(peer.number)
        if peer.number == 0:
            await peer.gone()
        else:
            await peer.send(whole(b"mine"))
            await peer.gone()

    async with serving(script) as server, client_of(server, max_connections=1) as client:
        task = asyncio.create_task(ask(client))
        await until(lambda: server.requests)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert (await ask(client)).body == b"mine"
        assert server.accepted == 2
        await until(lambda: server.open == 1)


async def test_a_cancel_in_the_moment_of_the_answer_leaves_the_connection_to_the_next():
    async with serving(echo) as server, client_of(server, max_connections=1) as client:
        await ask(client)
        for yields in range(12):  # one of them is that moment
            task = asyncio.create_task(ask(client, b"cancelled"))
            other = asyncio.create_task(ask(client, b"other"))
            for _ in range(yields):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert (await other).body == b"other"


async def test_an_idle_connection_that_the_server_closes_is_not_used_again():
    async def script(peer):
        await peer.request()
        await peer.send(whole(b"%d" % peer.number))
        if peer.number == 1:
            peer.reset()

    async with serving(script) as server, client_of(server) as client:
        for number in range(4):
            assert (await ask(client)).body == b"%d" % number
            await until(lambda: server.open == 0)
            await asyncio.sleep(0.01)


async def test_an_idle_connection_that_says_something_is_not_used_again():
    async def script(peer):
        await peer.request()
        await peer.send(whole(b"%d" % peer.number))
        await asyncio.sleep(0.005)
        await peer.send(whole(b"an answer to nothing"))
        await peer.gone()

    async with serving(script) as server, client_of(server) as client:
        for number in range(3):
            assert (await ask(client)).body == b"%d" % number
            await until(lambda: server.open == 0)


async def test_a_connection_that_was_lost_before_anything_was_written_is_replaced():
    async with serving(echo) as server, client_of(server) as client:
        await ask(client)
        (connection,) = client._idle
        connection.transport.close()  # it is closing, and the client was not told yet
        assert (await ask(client, b"again")).body == b"again"
        assert server.accepted == 2


async def test_a_request_that_was_written_is_never_sent_again():
    async def script(peer):
        server.requests.append(await peer.request())
        if peer.number == 0:
            await peer.send(whole())
            server.requests.append(await peer.request())

    async with serving(script) as server, client_of(server) as client:
        await ask(client)
        with pytest.raises(HttpBrokenError) as caught:
            await ask(client)
        assert caught.value.sent
        await asyncio.sleep(0.01)
        assert len(server.requests) == 2


async def test_a_fin_that_the_loop_has_not_seen_yet_is_found_before_use(monkeypatch, raw_server):
    monkeypatch.setattr(_client, "PEEK_SECONDS", 0.0)
    client = HttpClient("127.0.0.1", raw_server.port)
    await ask(client)
    raw_server.closed.wait(5)  # this holds the loop
    assert (await ask(client)).status == 200
    assert raw_server.accepted == 2
    await client.close()


async def test_a_connection_is_closed_after_idle_seconds_without_a_request():
    async with serving(echo) as server, client_of(server, idle_seconds=0.05) as client:
        await asyncio.gather(*(ask(client) for _ in range(3)))
        assert server.accepted == 3
        await until(lambda: server.open == 0)
        await ask(client)
        assert server.accepted == 4


async def test_a_connection_too_old_is_not_used_even_if_no_sweep_came():
    async with serving(echo) as server, client_of(server) as client:
        await ask(client)
        client._idle[0].idle_since -= 15.1
        await ask(client)
        assert server.accepted == 2


async def test_a_thousand_cancelled_requests_leave_nothing():
    async def script(peer):
        while True:
            await peer.request()
            await asyncio.sleep(0.001)
            await peer.send(whole())

    async with serving(script) as server, client_of(server, max_connections=8) as client:
        tasks = [asyncio.create_task(ask(client, b"x" * 100)) for _ in range(1000)]
        for number, task in enumerate(tasks):
            task.cancel()
            if number % 20 == 0:
                await asyncio.sleep(0)
            if number % 100 == 0:
                await asyncio.sleep(0.003)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert client._slots <= 8
        assert client._slots == len(client._idle)
        assert not client._line
        assert not client._connecting
        assert (await asyncio.gather(*(ask(client) for _ in range(16))))[0].status == 200
        await client.close()
        await until(lambda: server.open == 0)


async def test_a_closed_client_is_forgotten():
    async with serving(echo) as server:
        client = HttpClient("127.0.0.1", server.port)
        await asyncio.gather(*(ask(client) for _ in range(3)))
        await client.close()
        forgotten = weakref.ref(client)
        del client
        for _ in range(3):
            await asyncio.sleep(0)
        gc.collect()
        assert forgotten() is None


async def test_errors_free_their_place():
    async def script(peer):
        await peer.request()
        await peer.send([b"no HTTP", b"", b"HTTP/1.1 200 OK\r\n"][peer.number % 3])

    async with serving(script) as server, client_of(server, max_connections=2) as client:
        results = await asyncio.gather(*(ask(client) for _ in range(30)), return_exceptions=True)
        assert all(isinstance(each, HttpError) for each in results)
        assert server.accepted == 30
        assert client._slots == 0
