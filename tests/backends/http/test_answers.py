"""What an answer is: every framing of HTTP/1, in any pieces; and what no answer is."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.backends.http.scripted import answers, client_of, head, serving, until, whole

from dawdle.backends._http import HttpAnswer, HttpBadAnswerError, HttpBrokenError, HttpError
from dawdle.backends._http._answer import MAX_HEAD_BYTES, AnswerReader

pytestmark = pytest.mark.anyio

FEW = settings(max_examples=25, deadline=None)  # of each name
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
# What comes; the status and the body that it means; whether the connection may be used again.
WHOLE = {
    "length": (whole(b"body"), 200, b"body", True),
    "empty": (whole(b""), 200, b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, b"", True),
    "an error": (whole(b'{"a": 1}', b"400 Bad Request"), 400, b'{"a": 1}', True),
    "a redirect": (whole(b"", b"307 Temporary Redirect", b"Location: /there"), 307, b"", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    "chunks": (CHUNKED + b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", 200, b"abc0123456789", True),
    "no chunk": (CHUNKED + b"0\r\n\r\n", 200, b"", True),
    "extensions": (CHUNKED + b"3;a=b\r\nabc\r\n0;c\r\n\r\n", 200, b"abc", True),
    "trailers": (CHUNKED + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n", 200, b"abc", True),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"then"), 200, b"then", True),
    "hints": (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 3 + whole(b"then"), 200, b"then", True),
    "close": (whole(b"last", b"200 OK", b"Connection: close"), 200, b"last", False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", 200, b"old", False),
    "1.0 that stays": (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nold", 200, b"old", True),
}
AT_THE_END = {  # the end of the connection is the end of the answer
    "until the end": (b"HTTP/1.1 200 OK\r\n\r\nall there is", 200, b"all there is"),
    "nothing until the end": (b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n", 200, b""),
}
NO_HTTP = {
    "text": b"SSH-2.0-OpenSSH_9.6\r\n",
    "TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: three\r\n\r\n",
    "a chunk that is none": CHUNKED + b"zz\r\n",
    "a chunk that goes on": CHUNKED + b"3\r\nabcdef\r\n",
    "a length after chunks": CHUNKED + b"1\r\na\r\n0\r\nContent-Length: 5\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a huge head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * MAX_HEAD_BYTES,
    "many fields": b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * MAX_HEAD_BYTES,
    "huge trailers": CHUNKED + b"1\r\na\r\n0\r\n" + b"X-Y: z\r\n" * MAX_HEAD_BYTES,
    "a huge extension": CHUNKED + b"1;" + b"x" * 2 * MAX_HEAD_BYTES,
    "hints without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * MAX_HEAD_BYTES,
    "a huge body": whole(b"x" * 1001),
    "huge chunks": CHUNKED + b"200\r\n" + b"x" * 512 + b"\r\n200\r\n" + b"x" * 512 + b"\r\n0\r\n\r\n",
    "a huge body until the end": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
}


def read(pieces, max_body_bytes=1000):
    """Return what a reader makes of these pieces: the answer, whether it allows reuse, and the reader."""
    reader = AnswerReader(max_body_bytes)
    for piece in pieces:
        if piece and (answer := reader.feed(memoryview(piece))) is not None:
            return answer, reader.allows_reuse(), reader
    return None, False, reader


def cut(data, places):
    places = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


@pytest.mark.parametrize("name", WHOLE)
@FEW
@given(places=st.lists(st.integers(0, 500), max_size=12))
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(name, places):
    data, status, body, reusable = WHOLE[name]
    answer, allows_reuse, _ = read(cut(data, places))
    assert (answer.status, answer.body, allows_reuse) == (status, body, reusable)
    assert answer.headers == read([data])[0].headers


@pytest.mark.parametrize("name", AT_THE_END)
@FEW
@given(places=st.lists(st.integers(0, 500), max_size=12))
def test_an_answer_until_the_end_is_the_same_in_any_pieces(name, places):
    data, status, body = AT_THE_END[name]
    answer, _, reader = read(cut(data, places))
    assert answer is None
    answer = reader.feed_eof()
    assert (answer.status, answer.body, reader.allows_reuse()) == (status, body, False)


@pytest.mark.parametrize("name", WHOLE)
@FEW
@given(data=st.data())
def test_an_answer_that_is_cut_off_is_none(name, data):
    raw = WHOLE[name][0]
    answer, _, reader = read([raw[: data.draw(st.integers(0, len(raw) - 1))]])
    assert answer is None
    assert reader.feed_eof() is None


@given(st.lists(st.binary(max_size=40), max_size=8), st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED]))
def test_garbage_is_a_bad_answer_or_none(pieces, start):
    try:
        answer, _, reader = read([start, *pieces])
        answer = answer or reader.feed_eof()
    except HttpBadAnswerError:
        pass
    else:
        assert answer is None or answer.status < 1000


@pytest.mark.parametrize("name", NO_HTTP)
@FEW
@given(places=st.lists(st.integers(0, 300_000), max_size=6))
def test_a_bad_answer_is_bad_in_whatever_pieces_it_comes(name, places):
    with pytest.raises(HttpBadAnswerError):
        read(cut(NO_HTTP[name], places))


@pytest.mark.parametrize("name", NO_HTTP)
async def test_a_bad_answer_is_an_error_and_ends_the_connection(name):
    async with serving(answers(NO_HTTP[name])) as server, client_of(server, max_body_bytes=1000) as client:
        with pytest.raises(HttpBadAnswerError) as caught:
            await client.request(head(), b"", 5)
        assert caught.value.sent
        assert "x" * 10 not in str(caught.value)
        await until(lambda: server.open == 0)


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("size", [1, 1000], ids=["byte by byte", "at once"])
async def test_each_framing_arrives_and_says_if_the_connection_stays(name, size):
    data, status, body, reusable = WHOLE[name]

    async def script(peer):
        await peer.request()
        for place in range(0, len(data), size):
            await peer.send(data[place : place + size])
            await asyncio.sleep(0)
        await answers(whole(b"second"))(peer)

    async with serving(script) as server, client_of(server) as client:
        answer = await client.request(head(), b"", 5)
        assert (answer.status, answer.body) == (status, body)
        if reusable:
            assert (await client.request(head(), b"", 5)).body == b"second"
        else:
            await until(lambda: server.open == 0)
        assert server.accepted == 1


@pytest.mark.parametrize("name", AT_THE_END)
async def test_an_answer_may_end_with_its_connection(name):
    data, status, body = AT_THE_END[name]

    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with serving(script) as server, client_of(server) as client:
        for _ in range(2):
            answer = await client.request(head(), b"", 5)
            assert (answer.status, answer.body) == (status, body)
        assert server.accepted == 2


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\nConte", whole(b"body")[:-1], CHUNKED + b"3\r\nabc\r\n"])
@pytest.mark.parametrize("end", ["FIN", "RST"])
async def test_an_answer_that_is_cut_off_is_a_broken_connection(data, end):
    async def script(peer):
        server.requests.append(await peer.request())
        await peer.send(data)
        if end == "RST":
            await asyncio.sleep(0.01)  # a reset takes with it what was not read yet
            peer.reset()

    async with serving(script) as server, client_of(server) as client:
        with pytest.raises(HttpBrokenError) as caught:
            await client.request(head(2), b"{}", 5)
        assert caught.value.sent
        assert isinstance(caught.value.__cause__, ConnectionResetError if end == "RST" else type(None))
        assert server.requests == [head(2) + b"{}"]  # it is not sent again: it may have been carried out


@pytest.mark.parametrize("surplus", [b"HTTP", whole(b"another's"), b"HTTP/1.1 200 OK\r\nX: y\r\n", b"\x00", b"x" * 99])
async def test_a_connection_with_bytes_after_an_answer_is_not_used_again(surplus):
    async def script(peer):
        await answers(whole(b"right") + surplus)(peer)

    async with serving(script) as server, client_of(server) as client:
        for number in (1, 2):
            answer = await client.request(head(), b"", 5)
            assert (answer.body, answer.headers) == (b"right", {b"content-length": b"5"})
            assert server.accepted == number


async def test_headers_have_lower_case_names_and_are_joined():
    data = whole(b"", b"200 OK", b"X-Id: 1 ", b"x-id:\t2", b"DATE: Sat, 28 Nov 2026 10:00:00 GMT", b"X-Empty:")
    async with serving(answers(data)) as server, client_of(server) as client:
        assert (await client.request(head(), b"", 5)).headers == {
            b"x-id": b"1, 2",
            b"date": b"Sat, 28 Nov 2026 10:00:00 GMT",
            b"x-empty": b"",
            b"content-length": b"0",
        }


async def test_trailers_are_no_headers():
    async with serving(answers(WHOLE["trailers"][0])) as server, client_of(server) as client:
        assert (await client.request(head(), b"", 5)).headers == {b"transfer-encoding": b"chunked"}


def test_the_repr_of_an_answer_shows_neither_headers_nor_body():
    assert repr(HttpAnswer(200, ((b"Secret", b"header"),), b"secret")) == "HttpAnswer(status=200, 6 bytes)"


def test_a_large_body_arrives_in_as_many_pieces_as_it_likes():
    body = bytes(range(256)) * 4096
    pieces = [whole(body)[place : place + 65536] for place in range(0, len(whole(body)), 65536)]
    assert read(pieces, 2**20)[0].body == body
    chunks = CHUNKED + b"".join(b"1\r\n%c\r\n" % each for each in body[:50_000]) + b"0\r\n\r\n"
    assert (
        read([chunks[place : place + 65536] for place in range(0, len(chunks), 65536)], 2**20)[0].body == body[:50_000]
    )


GARBAGE = (b"", b"\r\n" * 40, b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"\xff" * 100_000)


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_from_a_server_is_an_error_and_never_hangs(data):
    async def script(peer):
        await peer.request()
        await peer.send(data)

    async with serving(script) as server, client_of(server) as client:
        with pytest.raises(HttpError):
            await asyncio.wait_for(client.request(head(), b"", 2), 5)
