"""Asks the health port of one worker what it did: `GET /stats`, in a thread, over a connection that is kept."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from dawdle.cli._snapshot import Answer, WorkerStats

__all__ = ["Threads", "WorkerPort", "answers_of", "checked_url", "workers_option"]

F = TypeVar("F", bound=Callable[..., Any])

TIMEOUT_SECONDS: Final = 2.0
GRACE_SECONDS: Final = 2.0
"""Seconds for which the last answer of a worker stands when the next one fails: one lost request is no news."""

MAX_BYTES: Final = 32_000_000
"""Of one answer. 100 handlers with durations in 40 buckets each are 62 kB, and one port speaks for many processes."""

_DECODER: Final = msgspec.json.Decoder(list[WorkerStats])
_UNREADABLE: Final = (msgspec.MsgspecError, RecursionError, ValueError)
"""What the decoder raises: deep nesting is a `RecursionError`."""


class _NoStatsError(Exception):
    """Something answers, but not with what a worker says."""


def workers_option(function: F) -> F:
    """Add `--workers`; the command gets a list of URLs as `urls`."""
    return click.option(
        "--workers",
        "urls",
        multiple=True,
        metavar="URL",
        callback=_read_urls,
        help="The health port of a worker, http://host:8080; may be repeated.",
    )(function)


def _read_urls(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(checked_url(text) for text in texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


async def answers_of(urls: Sequence[str]) -> list[Answer]:
    """Ask several health ports once, side by side, and return what each said."""
    with Threads(max(1, len(urls))) as threads:
        ports = [WorkerPort(url, threads) for url in urls]
        await asyncio.gather(*(port.ask() for port in ports))
        for port in ports:
            port.close()
    return [port.answer for port in ports]


class Threads(ThreadPoolExecutor):
    """Threads that ask, and what each question holds meanwhile, so that none waits for a thread in its own seconds."""

    def __init__(self, count: int) -> None:
        super().__init__(count, "dawdle-ask")
        self.free = asyncio.Semaphore(count)


class WorkerPort:
    """The health port of one worker, and what it last said. `of`: how many workers are asked, itself included."""

    def __init__(self, url: str, threads: Threads, *, of: int = 1) -> None:
        self._of = of
        self._threads = threads
        parts = urlsplit(url)
        self._host, self._port, self._path = parts.hostname or "", parts.port, f"{parts.path.rstrip('/')}/stats"
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection: HTTPConnection | None = None
        self._question: Future[bytes] | None = None
        self._socket: socket.socket | None = None
        self._is_aborted = False
        self._answered_at = -GRACE_SECONDS
        self.answer: Answer = Answer(url=url, error="has not answered yet")

    def period(self, interval: float) -> float:
        """Return the seconds until the next question: all are asked as often as one alone, so a fleet costs no more."""
        return interval * self._of

    async def ask(self) -> None:
        """Ask once, in two seconds at most from when a thread is free. An error is an answer too."""
        try:
            body = await self._body()
            self.answer = Answer(url=self.answer.url, stats=_DECODER.decode(body))
            self._answered_at = time.monotonic()
        except (OSError, HTTPException, *_UNREADABLE, _NoStatsError) as error:
            if time.monotonic() - self._answered_at >= GRACE_SECONDS:
                self.answer = Answer(url=self.answer.url, error=_text_of(error))

    async def _body(self) -> bytes:
        async with self._threads.free:
            if self._question is not None and not self._question.done():
                raise TimeoutError  # its thread still looks for the host: only that cannot be ended
            self._is_aborted = False
            self._question = self._threads.submit(self._get)
            try:
                # The timeout of the socket is one for each read, and a worker may answer byte by byte.
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return await asyncio.wrap_future(self._question)
            except TimeoutError:
                self.abort()
                raise

    def _get(self) -> bytes:
        kept = self._connection
        if kept is not None:
            try:
                return self._get_by(kept)
            except (ConnectionError, HTTPException):  # the worker has closed it meanwhile
                if self._is_aborted:
                    raise
        return self._get_by(self._kind(self._host, self._port, timeout=TIMEOUT_SECONDS))

    def _get_by(self, connection: HTTPConnection) -> bytes:
        self._connection = None
        try:
            status, body = self._exchange(connection)
        except BaseException:
            connection.close()
            raise
        finally:
            self._socket = None
        self._connection = connection
        if status != 200:
            raise _NoStatsError(f"HTTP {status} at {self._path}; is this its --health-port?")
        return body

    def _exchange(self, connection: HTTPConnection) -> tuple[int, bytes]:
        if connection.sock is None:
            connection.connect()
        self._socket = connection.sock  # before the last answer is read, the connection forgets it
        if self._is_aborted:
            raise TimeoutError
        connection.request("GET", self._path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(MAX_BYTES + 1)
        if len(body) > MAX_BYTES:
            raise _NoStatsError(f"it says more than {MAX_BYTES // 1_000_000} MB at {self._path}")
        if response.length:  # what is left of the length that it has announced
            raise IncompleteRead(body, response.length)
        return response.status, body

    def abort(self) -> None:
        """End a question that is not answered: its thread goes on at once, with an error."""
        self._is_aborted = True
        sock = self._socket
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, once no thread uses it."""
        if self._connection is not None:
            self._connection.close()


def checked_url(text: str) -> str:
    """Return the URL of a health port; `host:8080` is one too. Raises `ValueError`, which says what is wrong."""
    url = text.strip()
    url = (url if "://" in url else f"http://{url}").rstrip("/").removesuffix("/stats")
    if "@" in url:  # and no other error may print what stands before it
        raise ValueError("a worker takes no name and password: write the URL without them, http://host:8080")
    parts = urlsplit(url)
    if text.strip().isdecimal():
        raise ValueError(f"{text!r} is a port: write the host too, http://localhost:{text.strip()}")
    if parts.scheme not in {"http", "https"} or not _is_host(parts.hostname or "") or parts.query or parts.fragment:
        raise ValueError(f"{text!r} is no URL of a worker: write http://host:8080, with its --health-port")
    if not parts.path.isascii() or " " in parts.path:
        raise ValueError(f"{text!r} has a path that is not ASCII, or has a blank: write it with %, as %20")
    _ = parts.port  # raises ValueError for what is no port
    return url


def _is_host(name: str) -> bool:
    """Return whether a name can be looked up."""
    try:
        return " " not in name and bool(name.encode("idna"))
    except UnicodeError:  # `a..b`, or a part of more than 63 characters
        return False


def _text_of(error: Exception) -> str:
    """Return what is wrong, as it follows the URL."""
    if isinstance(error, TimeoutError):
        return f"does not answer within {TIMEOUT_SECONDS:g} s"
    if isinstance(error, _NoStatsError):
        return f"is no dawdle worker: {error}"
    if isinstance(error, _UNREADABLE):
        return f"is no dawdle worker, by what it says at /stats ({error})"
    if isinstance(error, OSError):
        return f"does not answer: {(error.strerror or str(error) or type(error).__name__).lower()}"
    return f"does not answer: {str(error) or type(error).__name__}"
