"""A queue on an SQS server of its own, which starts and ends with it: the fixture `dawdle_sqs`."""

import asyncio
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from dawdle.backends.sqs import SQS
from dawdle.errors import ConfigurationError
from dawdle.testing.clock import ManualClock
from dawdle.testing.sqs import QueueView, SQSServer

__all__ = ["SQSTestQueue"]

PARKED_SECONDS: Final = 0.5
"""Seconds of real time in which an open receive reaches the server."""


class SQSTestQueue(SQS):
    """A backend: a queue with a dead-letter queue, on a server that runs in the event loop that enters it.

    `TestApp(SQSTestQueue(clock), clock=clock)`. Delays, leases and long polls follow the clock. A `name` that ends in
    `.fifo` makes a FIFO queue, with a standard queue for what is delayed. The credentials that botocore finds are not
    looked at, but there must be some.
    """

    def __init__(self, clock: ManualClock, *, name: str = "test") -> None:
        self._test_name = name
        self._test_clock = clock
        self._servers = AsyncExitStack()
        self._server: SQSServer | None = None
        # The address comes with the server's port, when the queue is opened.
        super().__init__(f"http://127.0.0.1/000000000000/{name}", region="us-east-1")

    @property
    def clock(self) -> ManualClock:
        """The time that the server goes by."""
        return self._test_clock

    @property
    def server(self) -> SQSServer:
        """The server, to look into its queues and to let it fail. Raises `ConfigurationError` until it is open."""
        if self._server is None:
            raise ConfigurationError("the SQS server of this test starts with the app: ask for it inside the app")
        return self._server

    @property
    def queue(self) -> QueueView:
        """What is in the queue, exact and at this moment."""
        return self.server.queue(self._test_name)

    @property
    def dead_queue(self) -> QueueView:
        """What is in its dead-letter queue."""
        return self.server.queue(self._companion_name("dead"))

    async def __aenter__(self) -> Self:
        fifo = self._test_name.endswith(".fifo")
        server = SQSServer(clock=self._test_clock)
        dead, delayed = self._companion_name("dead"), "delayed"
        server.create_queue(self._test_name, dead_letter=dead)
        if fifo:
            server.create_queue(delayed)
        async with AsyncExitStack() as stack:
            self._server = await stack.enter_async_context(server)
            SQS.__init__(
                self,
                server.queue_url(self._test_name),
                region="us-east-1",
                endpoint_url=server.endpoint_url,
                dead_letter_url=server.queue_url(dead),
                delay_queue_url=server.queue_url(delayed) if fifo else None,
            )
            await super().__aenter__()
            self._servers = stack.pop_all()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(error_type, error, trace)
        finally:
            await self._servers.aclose()

    async def parked(self) -> None:
        """Return once an open receive waits at the server: only then does the server know when it is due again."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PARKED_SECONDS
        while not self.queue.polls and loop.time() < until:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.001)

    def _companion_name(self, what: str) -> str:
        stem = self._test_name.removesuffix(".fifo")
        return f"{stem}-{what}.fifo" if stem != self._test_name else f"{stem}-{what}"
