"""Every wait ends: for a name, a connection, a handshake, a reader, an answer. One timer serves them all."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
from tests.backends.http.scripted import answers, client_of, echo, head, serving, until, whole

from dawdle.backends._http import HttpAnswerTimeoutError, HttpClient, HttpConnectTimeoutError, HttpError

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_is_left")]


@asynccontextmanager
async def ends_after(seconds):
    started = time.monotonic()
    yield
    assert seconds - 0.002 <= time.monotonic() - started < seconds + 2


async def silence(peer):
    await peer.request()
    await peer.gone()


async def half_a_head(peer):
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-")
    await peer.gone()


async def half_a_body(peer):
    await peer.request()
    await peer.send(whole(b"body")[:-1])
    await peer.gone()


async def a_byte_now_and_then(peer):
    await peer.request()
    for place in range(len(whole())):
        await peer.send(whole()[place : place + 1])
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("script", [silence, half_a_head, half_a_body, a_byte_now_and_then])
async def test_no_whole_answer_in_time_is_an_error_and_ends_the_connection(script):
    async with serving(script) as server, client_of(server) as client:
        async with ends_after(0.1):
            with pytest.raises(HttpAnswerTimeoutError, match=r"^no whole answer came within 0\.1 seconds$") as caught:
                await client.request(head(), b"", 0.1)
        assert caught.value.sent
        await until(lambda: server.open == 0)


async def test_a_server_that_does_not_read_a_large_body_cannot_hold_a_request():
    async def script(peer):
        peer.writer.transport.pause_reading()
        await asyncio.sleep(5)

    body = bytes(8 * 1024 * 1024)
    async with serving(script) as server, client_of(server) as client:
        async with ends_after(0.1):
            with pytest.raises(HttpAnswerTimeoutError) as caught:
                await client.request(head(len(body)), body, 0.1)
        assert caught.value.sent


async def test_a_large_body_arrives_whole_at_a_server_that_reads_slowly():
    body = bytes(range(256)) * 16 * 1024

    async def script(peer):
        await asyncio.sleep(0.02)
        request = await peer.request()
        await peer.send(whole(b"%d" % (request == head(len(body)) + body)))
        await echo(peer)

    async with serving(script) as server, client_of(server) as client:
        assert (await client.request(head(len(body)), body, 5)).body == b"1"
        assert (await client.request(head(2), b"ok", 5)).body == b"ok"
        assert server.accepted == 1


@pytest.mark.parametrize("keeps_open", [False, True])
async def test_an_answer_before_the_body_is_read_is_the_answer(keeps_open):
    async def script(peer):
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()
        await peer.send(whole(b"too large", b"413 Content Too Large", *[b"Connection: close"] * (not keeps_open)))
        await asyncio.sleep(0.05)

    body = bytes(8 * 1024 * 1024)
    async with serving(script) as server, client_of(server) as client:
        for number in (1, 2):
            answer = await client.request(head(len(body)), body, 5)
            assert (answer.status, answer.body) == (413, b"too large")
            assert server.accepted == number  # not used again: its server does not read


async def test_each_request_has_its_own_deadline():
    async with serving(silence) as server, client_of(server) as client:

        async def ask(seconds):
            async with ends_after(seconds):
                with pytest.raises(HttpAnswerTimeoutError, match=f"within {seconds} seconds"):
                    await client.request(head(), b"", seconds)

        await asyncio.gather(*(ask(seconds) for seconds in (0.15, 0.05, 0.1)))


async def test_one_timer_serves_all_requests(monkeypatch):
    async with serving(echo) as server, client_of(server) as client:
        loop = asyncio.get_running_loop()
        call_later, timers = loop.call_later, []
        await client.request(head(), b"", 60)  # the deadline of the next one is earlier, and then the timer stays
        with monkeypatch.context() as patch:
            patch.setattr(loop, "call_later", lambda *args: timers.append(args) or call_later(*args), raising=False)
            for _ in range(100):
                await client.request(head(), b"", 10)
        assert len(timers) == 1


async def test_there_is_no_timer_when_nothing_can_end():
    async with serving(echo) as server, client_of(server, idle_seconds=0.05) as client:
        await client.request(head(), b"", 0.1)
        await until(lambda: server.open == 0 and client._timer is None)


async def test_a_name_server_that_does_not_answer_is_a_connect_timeout(monkeypatch):
    lookups = []

    async def getaddrinfo(*args, **kwargs):
        lookups.append(args)
        await asyncio.sleep(5)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    client = HttpClient("sqs.test", 443, connect_seconds=0.1)
    async with ends_after(0.1):
        results = await asyncio.gather(*(client.request(head(), b"", 5) for _ in range(10)), return_exceptions=True)
    assert [type(each) for each in results] == [HttpConnectTimeoutError] * 10
    assert str(results[0]) == "could not connect to sqs.test:443 within 0.1 seconds"
    assert not results[0].sent
    assert len(lookups) == 1  # a lookup holds a thread that cannot be freed, so ten requests share one
    await client.close()


async def test_the_deadline_of_a_request_ends_its_connecting_too(monkeypatch):
    async def getaddrinfo(*args, **kwargs):
        await asyncio.sleep(5)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)
    client = HttpClient("sqs.test", 443)
    async with ends_after(0.05):
        with pytest.raises(HttpConnectTimeoutError) as caught:
            await client.request(head(), b"", 0.05)
    assert not caught.value.sent
    await client.close()


async def test_a_server_that_accepts_no_connection_is_a_connect_timeout(monkeypatch):
    async def sock_connect(*args):
        await asyncio.sleep(5)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", sock_connect, raising=False)
    client = HttpClient("127.0.0.1", 443, connect_seconds=0.05)
    async with ends_after(0.05):
        with pytest.raises(HttpConnectTimeoutError):
            await client.request(head(), b"", 5)
    await client.close()


async def test_a_handshake_without_an_answer_is_a_connect_timeout(authority):
    async def script(peer):
        await peer.gone()

    async with serving(script) as server, client_of(server, tls=authority.trusted(), connect_seconds=0.1) as client:
        async with ends_after(0.1):
            with pytest.raises(HttpConnectTimeoutError) as caught:
                await client.request(head(), b"", 5)
        assert not caught.value.sent
        await until(lambda: server.open == 0)


async def test_a_thousand_deadlines_in_one_moment_are_kept():
    async with serving(answers()) as server, client_of(server, max_connections=2) as client:
        async with ends_after(0.1):
            requests = (client.request(head(), b"", 0.1 + number / 100_000) for number in range(1000))
            results = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(each, HttpError) for each in results)
        assert client._slots == 0


async def test_the_client_needs_a_running_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        await asyncio.to_thread(HttpClient, "127.0.0.1", 80)
