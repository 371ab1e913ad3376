"""`SQSServer`: connects the modules, opens the port, and lets tests look inside. No rule of SQS lives here."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from random import SystemRandom
from types import TracebackType
from typing import Self

import msgspec

from dawdle.abc import Clock, SystemClock
from dawdle.errors import ConfigurationError
from dawdle.testing.sqs._control_api import ControlApi
from dawdle.testing.sqs._endpoint import Endpoint
from dawdle.testing.sqs._errors import ServiceError
from dawdle.testing.sqs._faults import Asked, CallFaults, Faults
from dawdle.testing.sqs._http import Connection, Exchange
from dawdle.testing.sqs._queue_admin import create_queue
from dawdle.testing.sqs._scheduler import Scheduler
from dawdle.testing.sqs._service import MAX_IN_FLIGHT, Call, Service
from dawdle.testing.sqs._shapes import CreateQueueRequest
from dawdle.testing.sqs._view import QueueView

__all__ = ["SQSServer"]


class SQSServer:
    """An SQS server for tests, in memory, on loopback.

    `async with SQSServer(queues=("orders",)) as server:` opens it and closes it. Delays, visibility timeouts, long
    polls and dates follow `clock`. With `port` 0 it takes a free port. A queue whose name ends in `.fifo` is a FIFO
    queue. `in_flight_limit` is how many messages of one queue may be in flight.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        queues: Sequence[str] = (),
        region: str = "us-east-1",
        account: str = "000000000000",
        in_flight_limit: int = MAX_IN_FLIGHT,
    ) -> None:
        self.clock: Clock = SystemClock() if clock is None else clock
        self.faults = Faults()
        self._host = host
        self._port = port
        self._first_queue: str | None = None
        self._scheduler = Scheduler(self.clock)
        self._service = Service(
            clock=self.clock,
            scheduler=self._scheduler,
            faults=self.faults,
            random_bits=SystemRandom().getrandbits,
            region=region,
            account=account,
            in_flight_limit=in_flight_limit,
        )
        self._endpoint = Endpoint(self._service)
        self._control = ControlApi(self._service, self._endpoint.requests)
        self._connections: set[Connection] = set()
        self._stack = AsyncExitStack()
        for name in queues:
            self.create_queue(name)

    async def __aenter__(self) -> Self:
        """Open the port. Raises `OSError` if another process has it."""
        # Closed in reverse: the port and its connections come first, so that no request finds the scheduler closed. The
        # stack is kept only once all is open: an error on the way closes what is open already.
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._scheduler)
            server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self._handle, self._connections), self._host, self._port, backlog=1024
            )
            stack.push_async_callback(self._close, server)
            port: int = server.sockets[0].getsockname()[1]
            self._service.endpoint_url = f"http://{self._host}:{port}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the port and reset every connection; calls that wait get no response."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def endpoint_url(self) -> str:
        """The URL of this server, such as `http://127.0.0.1:40123`. Raises `ConfigurationError` until it is open."""
        if not self._service.endpoint_url:
            raise ConfigurationError(
                "the SQS server has no address before it is open; open it with `async with SQSServer() as server:`"
            )
        return self._service.endpoint_url

    @property
    def requests(self) -> Counter[str]:
        """How many requests came, by operation. `clear()` starts the count again."""
        return self._endpoint.requests

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that point AWS clients and dawdle at this server and its first queue."""
        variables = {
            "AWS_ENDPOINT_URL_SQS": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": self._service.region,
            "AWS_REGION": self._service.region,
            "DAWDLE_BACKEND": "sqs",
            "DAWDLE_SQS_ENDPOINT_URL": self.endpoint_url,
            "DAWDLE_SQS_REGION": self._service.region,
        }
        first = self._service.queues.get(self._first_queue or "")
        if first is not None:
            variables["DAWDLE_SQS_QUEUE_URL"] = self._service.url(first)
            dead = self._service.dead_letter_target(first)
            if dead is not None:
                variables["DAWDLE_SQS_DEAD_LETTER_URL"] = self._service.url(dead)
        return variables

    def queue_url(self, name: str) -> str:
        """Return the URL of a queue. Raises `ConfigurationError` for an unknown name, and until the server is open."""
        self.queue(name)
        return self.endpoint_url + self._service.path(self._service.queues[name])

    def queue(self, name: str) -> QueueView:
        """Return a view of a queue. Raises `ConfigurationError` for an unknown name."""
        if name not in self._service.queues:
            names = ", ".join(sorted(self._service.queues)) or "none"
            raise ConfigurationError(f"the SQS server has no queue {name!r}; its queues: {names}")
        return QueueView(self._service, self._service.queues[name])

    def create_queue(
        self,
        name: str,
        *,
        dead_letter: str | None = None,
        max_receives: int = 100,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Create a queue as the operation CreateQueue does, before or after the server is open.

        `dead_letter` names its dead-letter queue, which is created if need be; a message goes there after
        `max_receives` receives. `attributes` are those of CreateQueue. Raises `ConfigurationError`.
        """
        written = dict(attributes or {})
        # SQS wants the attribute as well as the name.
        if name.endswith(".fifo"):
            written["FifoQueue"] = "true"
        if dead_letter is not None:
            if dead_letter not in self._service.queues:
                self._create(dead_letter, {"FifoQueue": "true"} if dead_letter.endswith(".fifo") else {})
            policy = {
                "deadLetterTargetArn": self._service.arn(dead_letter),
                "maxReceiveCount": str(max_receives),
            }
            written["RedrivePolicy"] = msgspec.json.encode(policy).decode()
        self._create(name, written)
        self._first_queue = self._first_queue or name

    def _create(self, name: str, attributes: dict[str, str]) -> None:
        now = self._service.now()
        asked = Asked("CreateQueue", name, 0, now.monotonic)
        try:
            create_queue(self._service, CreateQueueRequest(name, attributes), Call(asked, now, CallFaults()))
        except ServiceError as error:
            raise ConfigurationError(f"queue {name!r} cannot be created: {error.message}") from error

    def _handle(self, exchange: Exchange) -> None:
        if not self._control.handle(exchange):
            self._endpoint.handle(exchange)

    async def _close(self, server: asyncio.Server) -> None:
        # The port first: a client whose connection is reset connects again at once.
        server.close()
        for connection in list(self._connections):
            connection.reset()
        await server.wait_closed()
