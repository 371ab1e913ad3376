"""Closing fails what is under way, says whether it was sent, and waits until no socket is left."""

import asyncio
from pathlib import Path

import pytest
from tests.backends.http.scripted import client_of, echo, head, serving, until

from dawdle.backends._http import HttpClient, HttpClosedError

FILES = Path("/proc/self/fd")
pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_is_left")]


async def silence(peer):
    await peer.request()
    await peer.gone()


async def test_closing_fails_the_request_in_flight_and_the_one_in_line():
    async with serving(silence) as server, client_of(server, max_connections=1) as client:
        first, second = (asyncio.create_task(client.request(head(), b"", 5)) for _ in range(2))
        await until(lambda: any(each.answer for each in client._open) and client._line)
        await client.close()
        assert not client._open
        with pytest.raises(HttpClosedError) as caught:
            await first
        assert caught.value.sent
        with pytest.raises(HttpClosedError) as caught:
            await second
        assert not caught.value.sent
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("step", ["getaddrinfo", "sock_connect"])
async def test_closing_fails_what_is_connecting(monkeypatch, step):
    began = asyncio.Event()

    async def never(*_, **__):
        began.set()
        await asyncio.sleep(5)

    monkeypatch.setattr(asyncio.get_running_loop(), step, never, raising=False)
    client = HttpClient("127.0.0.1", 443, max_connections=2)
    tasks = [asyncio.create_task(client.request(head(), b"", 5)) for _ in range(4)]
    await began.wait()
    await client.close()
    assert client._slots == 0
    for task in tasks:
        with pytest.raises(HttpClosedError) as caught:
            await task
        assert not caught.value.sent


async def test_closing_fails_a_request_that_was_just_given_its_turn(monkeypatch):
    async with serving(silence) as server, client_of(server, max_connections=1) as client:
        first, second = (asyncio.create_task(client.request(head(), b"", 5)) for _ in range(2))
        await until(lambda: server.open == 1 and any(each.answer for each in client._open))
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lambda *_, **__: asyncio.sleep(5), raising=False)
        first.cancel()  # its slot goes to the second in the turn of the loop in which the client is closed
        await asyncio.create_task(client.close())
        assert client._slots == 0
        assert isinstance((await asyncio.gather(second, return_exceptions=True))[0], HttpClosedError)


async def test_closing_fails_a_handshake(authority):
    async def script(peer):
        await peer.gone()

    async with serving(script) as server:
        client = HttpClient("127.0.0.1", server.port, tls=authority.trusted())
        task = asyncio.create_task(client.request(head(), b"", 5))
        await until(lambda: server.open == 1)
        await client.close()
        with pytest.raises(HttpClosedError) as caught:
            await task
        assert not caught.value.sent
        await until(lambda: server.open == 0)


async def test_a_closed_client_sends_nothing():
    async with serving(echo) as server, client_of(server) as client:
        await client.request(head(), b"", 5)
        await asyncio.gather(client.close(), client.close())
        await client.close()
        with pytest.raises(HttpClosedError, match="^the client is closed$") as caught:
            await client.request(head(), b"", 5)
        assert not caught.value.sent
        await until(lambda: server.open == 0)


async def test_closing_an_unused_client_does_nothing():
    await HttpClient("127.0.0.1", 1).close()


async def test_a_cancelled_close_has_closed_all_the_same():
    async with serving(silence) as server, client_of(server) as client:
        request = asyncio.create_task(client.request(head(), b"", 5))
        await until(lambda: server.open == 1)
        close = asyncio.create_task(client.close())
        await asyncio.sleep(0)
        close.cancel()
        await asyncio.wait([close, request])
        assert isinstance(request.exception(), HttpClosedError)
        await until(lambda: server.open == 0)


@pytest.mark.skipif(not FILES.is_dir(), reason="needs Linux's list of open files")
async def test_closing_leaves_no_file_open(authority):
    context = authority.context("localhost", "localhost")
    async with serving(echo, tls=context) as server:
        before = None
        for _ in range(3):
            client = HttpClient("localhost", server.port, tls=authority.trusted())
            await asyncio.gather(*(client.request(head(), b"", 5) for _ in range(10)))
            await client.close()
            await until(lambda: server.open == 0)
            await asyncio.sleep(0.01)
            count = len(list(FILES.iterdir()))
            assert count <= (before or count)
            before = count


def test_each_loop_has_a_client_of_its_own(anyio_backend):
    async def once():
        async with serving(echo) as server, client_of(server) as client:
            return (await client.request(head(2), b"ok", 5)).body

    factory = __import__("uvloop").new_event_loop if anyio_backend[1]["use_uvloop"] else None
    for _ in range(2):
        with asyncio.Runner(loop_factory=factory) as runner:
            assert runner.run(once()) == b"ok"


async def test_closing_in_any_moment_of_the_first_requests_leaves_nothing(authority):
    context, trusted = authority.context("localhost", "localhost"), authority.trusted()
    async with serving(silence, tls=context) as server, serving(silence) as plain:
        for turns in range(15):
            for port, tls in ((server.port, trusted), (plain.port, None)):
                client = HttpClient("localhost", port, tls=tls, max_connections=2)
                tasks = [asyncio.create_task(client.request(head(), b"", 5)) for _ in range(4)]
                for _ in range(turns):
                    await asyncio.sleep(0.0005 if tls else 0)
                await client.close()
                assert not client._open
                assert client._slots == 0
                await asyncio.wait(tasks)
                assert {type(each.exception()) for each in tasks} == {HttpClosedError}
        await until(lambda: server.open == 0 == plain.open)
