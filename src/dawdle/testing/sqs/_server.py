"""`SQSServer`: puts the rooms together, opens the port, and lets tests look inside. No rule of SQS lives here."""

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
    """An SQS to test against, on loopback.

    `async with SQSServer(queues=("orders",)) as server:` opens it and closes it. `clock` is where its delays,
    visibility timeouts, long polls and dates come from. `port` 0 takes a free one. A queue whose name ends in
    `.fifo` is a FIFO queue. `in_flight_limit` is how many messages of one queue may be in flight.
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
        self._first: str | None = None
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
        """Open the port. Raises `OSError` when it is taken."""
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
        """Close the port and cut every connection; calls that wait get no answer."""
        await self._stack.__aexit__(kind, error, trace)

    @property
    def endpoint_url(self) -> str:
        """Where clients find this server, such as `http://127.0.0.1:40123`. Raises `ConfigurationError` until open."""
        if not self._service.endpoint_url:
            raise ConfigurationError("the server has no address yet; open it with `async with SQSServer() as server:`")
        return self._service.endpoint_url

    @property
    def requests(self) -> Counter[str]:
        """How many requests came, by operation; `clear()` it to count from here."""
        return self._endpoint.requests

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that send AWS clients and dawdle here; the queue is the first that was made."""
        found = {
            "AWS_ENDPOINT_URL_SQS": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": self._service.region,
            "AWS_REGION": self._service.region,
            "DAWDLE_BACKEND": "sqs",
            "DAWDLE_SQS_ENDPOINT_URL": self.endpoint_url,
            "DAWDLE_SQS_REGION": self._service.region,
        }
        first = self._service.queues.get(self._first or "")
        if first is not None:
            found["DAWDLE_SQS_QUEUE_URL"] = self._service.url(first)
            dead = self._service.dead_letter_target(first)
            if dead is not None:
                found["DAWDLE_SQS_DEAD_LETTER_URL"] = self._service.url(dead)
        return found

    def queue_url(self, name: str) -> str:
        """Return the URL of a queue. Raises `ConfigurationError` if there is none of this name, or no address yet."""
        self.queue(name)
        return self.endpoint_url + self._service.path(self._service.queues[name])

    def queue(self, name: str) -> QueueView:
        """Return a look into a queue. Raises `ConfigurationError` if there is none of this name."""
        if name not in self._service.queues:
            known = ", ".join(sorted(self._service.queues)) or "none"
            raise ConfigurationError(f"there is no queue {name!r} here; there is: {known}")
        return QueueView(self._service, self._service.queues[name])

    def create_queue(
        self,
        name: str,
        *,
        dead_letter: str | None = None,
        max_receives: int = 100,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        """Create a queue, as the operation CreateQueue would, before or after the server is open.

        `dead_letter` names the queue (created as well if need be) that gets what was received more than
        `max_receives` times. `attributes` are those of CreateQueue. Raises `ConfigurationError`.
        """
        wanted = dict(attributes or {})
        if name.endswith(".fifo"):
            wanted["FifoQueue"] = "true"
        if dead_letter is not None:
            if dead_letter not in self._service.queues:
                self._create(dead_letter, {"FifoQueue": "true"} if dead_letter.endswith(".fifo") else {})
            policy = {
                "deadLetterTargetArn": self._service.arn(dead_letter),
                "maxReceiveCount": str(max_receives),
            }
            wanted["RedrivePolicy"] = msgspec.json.encode(policy).decode()
        self._create(name, wanted)
        self._first = self._first or name

    def _create(self, name: str, attributes: dict[str, str]) -> None:
        moment = self._service.now()
        asked = Asked("CreateQueue", name, 0, moment.monotonic)
        try:
            create_queue(self._service, CreateQueueRequest(name, attributes), Call(asked, moment, CallFaults()))
        except ServiceError as refusal:
            raise ConfigurationError(f"queue {name!r} cannot be created: {refusal.message}") from refusal

    def _handle(self, exchange: Exchange) -> None:
        if not self._control.handle(exchange):
            self._endpoint.handle(exchange)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for connection in list(self._connections):
            connection.reset()
        await server.wait_closed()
