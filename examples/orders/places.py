"""Where the demo's orders wait, and what that tells about itself: a server of SQS, or a file."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Protocol

import httpx
import msgspec

from dawdle.abc import Counts
from dawdle.backends.sqlite import SQLite
from orders.programs import outside, sqs

REQUESTS: Final = {
    "send": "SendMessage",
    "receive": "ReceiveMessage",
    "delete": "DeleteMessage",
    "visibility": "ChangeMessageVisibility",
}
"""What a request is for, and how the names of such operations begin: each may end in Batch."""


class Place(Protocol):
    """A queue, as the demo sees it from outside."""

    environment: Mapping[str, str]
    """Leads a program to it, and to no other."""

    async def is_polled_by(self, workers: int) -> bool:
        """Whether so many workers receive."""
        ...

    async def is_empty(self) -> bool:
        """Whether the queue holds nothing, and no worker has anything of it."""
        ...

    async def used(self, events: int) -> str:
        """Say in a line what so many events took of it."""
        ...


class Depth(msgspec.Struct):
    """How many messages a queue holds: those that wait, those that some worker has, and those whose time comes."""

    visible: int
    in_flight: int
    delayed: int


class Server:
    """An SQS server of this machine, which tells what SQS does not."""

    def __init__(self, environment: Mapping[str, str], http: httpx.AsyncClient) -> None:
        self.environment = environment
        self._http = http

    async def is_polled_by(self, workers: int) -> bool:
        return (await self._requests()).get("ReceiveMessage", 0) >= workers  # each begins with one long poll

    async def is_empty(self) -> bool:
        answer = await self._http.get("/_control/queues")
        depth = msgspec.json.decode(answer.content, type=dict[str, Depth])["orders"]
        return depth == Depth(visible=0, in_flight=0, delayed=0)

    async def used(self, events: int) -> str:
        return requests_per_event(await self._requests(), events)

    async def _requests(self) -> dict[str, int]:
        answer = await self._http.get("/_control/requests")
        return msgspec.json.decode(answer.content, type=dict[str, int])


def requests_per_event(requests: Mapping[str, int], events: int) -> str:
    counts = {
        purpose: sum(count for operation, count in requests.items() if operation.startswith(beginning))
        for purpose, beginning in REQUESTS.items()
    }
    parts = ", ".join(f"{purpose} {count / max(events, 1):.2f}" for purpose, count in counts.items())
    return f"requests per event: {sum(counts.values()) / max(events, 1):.2f} ({parts})"


class File:
    """A SQLite file. All programs have it open, and so has the demo."""

    def __init__(self, environment: Mapping[str, str], path: Path, queue: SQLite) -> None:
        self.environment = environment
        self._path = path
        self._queue = queue

    async def is_polled_by(self, workers: int) -> bool:
        # Beside the file is a socket of each process that receives, by which the others wake it.
        return len(list(self._path.parent.glob("*-wake/*.socket"))) >= workers

    async def is_empty(self) -> bool:
        return await self._queue.count() == Counts(waiting=0, in_flight=0, delayed=0)

    async def used(self, events: int) -> str:  # noqa: ARG002 - a file does not grow with what went through it
        return f"the file has {kilobytes(self._path)}, and its write-ahead log {kilobytes(f'{self._path}-wal')}"


def kilobytes(path: str | Path) -> str:
    return f"{Path(path).stat().st_size // 1000:,} kB"


@asynccontextmanager
async def on_sqs() -> AsyncGenerator[Server]:
    """Run an SQS server."""
    async with (
        sqs() as environment,
        httpx.AsyncClient(base_url=environment["AWS_ENDPOINT_URL_SQS"], trust_env=False) as http,
    ):
        yield Server({**environment, "DAWDLE_BACKEND": "orders.queues.with_a_short_lease"}, http)


@asynccontextmanager
async def in_a_file() -> AsyncGenerator[File]:
    """Make a file, for as long as the demo lasts."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "orders.db")
        environment = {"DAWDLE_BACKEND": "orders.queues.in_a_file", "DAWDLE_SQLITE_PATH": str(path)}
        async with SQLite(path) as queue:
            yield File({**outside(), **environment}, path, queue)
