"""Opening a connection: which address, whose certificate, and what became of it where there is none."""

import asyncio
import socket
import ssl

import pytest
from tests.backends.http.scripted import Authority, answers, client_of, echo, head, serving, until, whole

from dawdle.backends._http import HttpBrokenError, HttpClient, HttpConnectError, HttpTLSError, _connector

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_task_is_left")]


@pytest.fixture
def resolves_to(monkeypatch):
    """Let the name `sqs.test` have these addresses, given as (host, port)."""

    def patch(*addresses):
        real = asyncio.get_running_loop().getaddrinfo

        async def getaddrinfo(host, port, **options):
            if host != "sqs.test":
                return await real(host, port, **options)
            families = [socket.AF_INET6 if ":" in each[0] else socket.AF_INET for each in addresses]
            return [
                (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)
                for family, address in zip(families, addresses, strict=True)
            ]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo, raising=False)

    return patch


@pytest.fixture
def connects_by(monkeypatch):
    """Let `sock_connect` do first what a test says; returns the addresses that were tried, in order."""

    def patch(first):
        loop = asyncio.get_running_loop()
        sock_connect, tried = loop.sock_connect, []

        async def patched(raw, address):
            tried.append(address[0])
            await first(address[0])
            await sock_connect(raw, address)

        monkeypatch.setattr(loop, "sock_connect", patched, raising=False)
        return tried

    return patch


def dead_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def error_of(client):
    with pytest.raises(HttpConnectError) as caught:
        await client.request(head(), b"", 5)
    await client.close()
    assert not caught.value.sent
    return caught.value


async def test_a_refused_connection_names_the_server_and_the_reason():
    port = dead_port()
    error = await error_of(HttpClient("127.0.0.1", port))
    assert str(error).startswith(f"could not connect to 127.0.0.1:{port}: [Errno ")
    assert isinstance(error.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize("name", ["no-such-host.invalid", "x" * 64 + ".test", "a..b"])
async def test_a_name_without_an_address_cannot_be_connected_to(name):
    error = await error_of(HttpClient(name, 443))
    assert str(error).startswith(f"could not connect to {name}:443: ")
    assert isinstance(error.__cause__, (OSError, ValueError))


async def test_no_address_at_all_is_an_error(resolves_to):
    resolves_to()
    assert "the name has no address" in str(await error_of(HttpClient("sqs.test", 443)))


async def test_an_ipv6_address_is_shown_in_brackets():
    assert "[::1]:1: " in str(await error_of(HttpClient("::1", 1)))


async def test_an_address_that_refuses_gives_way_to_the_next_at_once(resolves_to, monkeypatch):
    monkeypatch.setattr(_connector, "ATTEMPT_SECONDS", 60.0)
    async with serving(echo) as server:
        resolves_to(("127.0.0.1", dead_port()), ("127.0.0.1", server.port))
        async with client_of(server, "sqs.test") as client:
            assert (await client.request(head(2), b"ok", 5)).body == b"ok"


async def test_an_address_that_is_silent_is_overtaken_by_the_next(resolves_to, connects_by, monkeypatch):
    monkeypatch.setattr(_connector, "ATTEMPT_SECONDS", 0.02)

    async def first(address):
        if address != "127.0.0.1":
            await asyncio.sleep(5)

    async with serving(echo) as server:
        resolves_to(("127.0.0.2", 9), ("127.0.0.3", 9), ("127.0.0.1", server.port), ("127.0.0.4", 9))
        tried = connects_by(first)
        async with client_of(server, "sqs.test") as client:
            assert (await client.request(head(2), b"ok", 5)).body == b"ok"
        assert tried[:3] == ["127.0.0.2", "127.0.0.3", "127.0.0.1"]


async def test_the_slower_of_two_connections_is_closed(resolves_to, connects_by, monkeypatch):
    monkeypatch.setattr(_connector, "ATTEMPT_SECONDS", 0.0)
    async with serving(echo) as server:
        resolves_to(*[("127.0.0.1", server.port)] * 4)
        connects_by(lambda _: asyncio.sleep(0))
        async with client_of(server, "sqs.test") as client:
            assert (await client.request(head(2), b"ok", 5)).body == b"ok"
            await until(lambda: server.open == 1)


async def test_the_families_of_addresses_take_turns(resolves_to, connects_by):
    async def first(_):
        raise OSError("unreachable")

    resolves_to(("::1", 1), ("::2", 1), ("::3", 1), ("127.0.0.1", 1), ("127.0.0.2", 1))
    tried = connects_by(first)
    error = await error_of(HttpClient("sqs.test", 443))
    assert tried == ["::1", "127.0.0.1", "::2", "127.0.0.2", "::3"]
    assert str(error) == "could not connect to sqs.test:443: unreachable"


async def test_a_cancelled_connect_closes_every_attempt(resolves_to, connects_by, monkeypatch):
    monkeypatch.setattr(_connector, "ATTEMPT_SECONDS", 0.0)
    resolves_to(*[("127.0.0.1", 9)] * 3)
    tried = connects_by(lambda _: asyncio.sleep(5))
    client = HttpClient("sqs.test", 443)
    task = asyncio.create_task(client.request(head(), b"", 5))
    await until(lambda: len(tried) == 3)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert client._slots == 0
    await client.close()


async def test_the_socket_sends_at_once_and_notices_a_dead_server():
    async with serving(echo) as server, client_of(server) as client:
        await client.request(head(), b"", 5)
        raw = client._idle[0].socket
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


async def test_a_connection_that_ends_before_the_request_is_not_sent(monkeypatch):
    connect = _connector.Connector.connect

    async def then_close(self, connection):
        await connect(self, connection)
        connection.transport.close()

    monkeypatch.setattr(_connector.Connector, "connect", then_close)
    async with serving(echo) as server, client_of(server) as client:
        with pytest.raises(HttpBrokenError) as caught:
            await client.request(head(), b"", 5)
        assert not caught.value.sent
        assert client._slots == 0


async def test_tls_with_the_name_of_the_host(authority):
    names = []
    context = authority.context("tells names", "localhost")
    context.sni_callback = lambda _, name, __: names.append(name)
    async with serving(echo, tls=context) as server:
        client = HttpClient("localhost", server.port, tls=authority.trusted())
        large = bytes(1_000_000)
        for body in (b"small", large, b""):
            assert (await client.request(head(len(body)), body, 5)).body == body
        await asyncio.gather(*(client.request(head(), b"", 5) for _ in range(5)))
        assert 1 < server.accepted <= 5
        assert set(names) == {"localhost"}
        await client.close()


async def test_tls_with_an_absolute_name(authority):
    """Certificates have no dot at the end."""
    context = authority.context("absolute", "sqs.test")
    async with (
        serving(echo, tls=context) as server,
        client_of(server, tls=authority.trusted(), server_hostname="sqs.test.") as client,
    ):
        assert (await client.request(head(4), b"body", 5)).body == b"body"


async def test_tls_with_another_name_than_the_host(authority):
    context = authority.context("other", "sqs.test")
    async with (
        serving(echo, tls=context) as server,
        client_of(server, tls=authority.trusted(), server_hostname="sqs.test") as client,
    ):
        assert (await client.request(head(2), b"ok", 5)).body == b"ok"


@pytest.mark.parametrize(
    ("host", "days", "reason"), [("sqs.test", 2, "not valid for 'localhost'"), ("localhost", -1, "expired")]
)
async def test_a_certificate_that_does_not_hold_is_a_tls_error(authority, host, days, reason):
    context = authority.context(f"{host}{days}", host, days)
    async with serving(echo, tls=context) as server:
        error = await error_of(HttpClient("localhost", server.port, tls=authority.trusted()))
        assert isinstance(error, HttpTLSError)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
        assert reason in str(error)
        assert f"localhost:{server.port}" in str(error)


async def test_a_certificate_of_an_unknown_authority_is_a_tls_error(authority, tmp_path):
    context = Authority(tmp_path, "theirs").context("localhost", "localhost")
    async with serving(echo, tls=context) as server:
        error = await error_of(HttpClient("localhost", server.port, tls=authority.trusted()))
        assert isinstance(error, HttpTLSError)
        assert "unable to get local issuer certificate" in str(error)


async def test_a_server_that_does_not_speak_tls_is_a_tls_error(authority):
    async def script(peer):
        await peer.reader.read(1)
        await peer.send(whole(b"", b"400 Bad Request"))
        await peer.gone()

    async with serving(script) as server:
        error = await error_of(HttpClient("localhost", server.port, tls=authority.trusted()))
        assert isinstance(error, HttpTLSError)


async def test_a_server_that_leaves_during_the_handshake_is_no_connection(authority):
    async def script(peer):
        await peer.reader.read(1)

    async with serving(script) as server:
        error = await error_of(HttpClient("localhost", server.port, tls=authority.trusted()))
        assert isinstance(error.__cause__, OSError)


async def test_a_tls_connection_that_ends_in_an_answer_is_broken(authority):
    async def script(peer):
        await peer.request()
        await peer.send(whole(b"body")[:-1])

    context = authority.context("localhost", "localhost")
    async with serving(script, tls=context) as server:
        client = HttpClient("localhost", server.port, tls=authority.trusted())
        with pytest.raises(HttpBrokenError) as caught:
            await client.request(head(), b"", 5)
        assert caught.value.sent
        await client.close()


async def test_a_tls_connection_that_the_server_closes_is_not_used_again(authority):
    async def script(peer):
        await peer.request()
        await peer.send(whole(b"%d" % peer.number))

    context = authority.context("localhost", "localhost")
    async with serving(script, tls=context) as server:
        client = HttpClient("localhost", server.port, tls=authority.trusted())
        for number in range(3):
            assert (await client.request(head(), b"", 5)).body == b"%d" % number
            await until(lambda: not client._idle)
        await client.close()


@pytest.mark.parametrize("says_goodbye", [True, False])
async def test_a_body_until_the_end_of_a_tls_connection_needs_its_goodbye(authority, says_goodbye):
    """Without it, the body may have been cut off on the way."""

    async def script(peer):
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall there is")
        await asyncio.sleep(0.02)
        if not says_goodbye:
            peer.writer.transport.abort()

    context = authority.context("localhost", "localhost")
    async with serving(script, tls=context) as server:
        client = HttpClient("localhost", server.port, tls=authority.trusted())
        if says_goodbye:
            assert (await client.request(head(), b"", 5)).body == b"all there is"
        else:
            with pytest.raises(HttpBrokenError):
                await client.request(head(), b"", 5)
        await client.close()


async def test_a_cancelled_tls_request_leaves_no_connection(authority):
    context = authority.context("localhost", "localhost")
    async with serving(answers(), tls=context) as server:
        client = HttpClient("localhost", server.port, tls=authority.trusted())
        for wait in range(30):  # in the handshake, and after it
            task = asyncio.create_task(client.request(head(), b"", 5))
            await asyncio.sleep(wait / 5000)
            task.cancel()
            await asyncio.wait([task])
        assert client._slots == 0
        await client.close()
        await until(lambda: server.open == 0)
