"""What lives from one invocation to the next: the app with its queues, and what a function was told. Runs no loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from weakref import WeakSet

import dawdle
from dawdle.abc import Backend
from dawdle.aws_lambda._foreign import Foreign, Reader
from dawdle.aws_lambda._queue import LambdaQueue
from dawdle.aws_lambda._reporting import Reporting, in_lambda
from dawdle.backends.sqs import SQS
from dawdle.errors import ConfigurationError

__all__ = ["Otherwise", "Sandbox"]

Otherwise = Callable[[Any, Any], Awaitable[object]]
"""An async function that takes an event and the context, as any Lambda function does."""


_apps: Final[WeakSet[dawdle.Dawdle]] = WeakSet()
"""Those that have a handler."""


class Sandbox:
    """One app in one process of Lambda's."""

    def __init__(
        self,
        app: dawdle.Dawdle,
        *,
        foreign: Sequence[Foreign],
        otherwise: Otherwise | None,
        report_batch_item_failures: bool | None,
        margin: float | None,
    ) -> None:
        self.app = app
        self.reader = Reader(foreign)
        self.otherwise = otherwise
        self.reporting = Reporting(report_batch_item_failures)
        self.margin = margin
        self.queues: dict[str, LambdaQueue] = {}
        self.refusal: str | None = None
        """Why the app cannot work in Lambda."""
        if app in _apps:
            raise ConfigurationError("this app has a Lambda handler already: make one, and export it under each name")
        app.wrap_queues(self._know)
        _apps.add(app)
        self.ended: asyncio.Task[None] | None = None
        """Done once the app has died; None while it is not entered."""
        self.wake = asyncio.Event()
        """Set whenever the invocation that waits has to look again."""
        self.stopping = False
        """SIGTERM came in mid-invocation."""
        self.stopped_late: set[asyncio.Task[None]] = set()
        """Ends of invocations whose handlers ignore cancellation."""

    @property
    def is_over(self) -> bool:
        """Whether the app has died, or the process is to end."""
        return self.stopping or self.ended is None or self.ended.done()

    async def enter(self) -> None:
        """Enter the app, unless it is. Raises what it died of since, or what keeps it from being entered."""
        if self.ended is not None and self.ended.done():
            await self.leave()
        if self.ended is None:
            # Only now: a worker or a web app that imports the function's module receives from the queues themselves.
            self.app.wrap_queues(self._wrapped)
            try:
                await self.app.__aenter__()
            except BaseException:
                self._unwrap()
                raise
            if not all(queue.is_open for queue in self.queues.values()):
                await self.app.__aexit__(None, None, None)
                raise ConfigurationError(
                    "the queues of this app are not those of the function: it is under test, and its queues are in "
                    "memory. Signal to the app in such a test, and call the function in one without dawdle_app"
                )
            self.ended = asyncio.create_task(self.app.ended(), name="dawdle: wait for the app")
            self.ended.add_done_callback(lambda _: self.wake.set())

    async def enter_early(self) -> None:
        """Enter the app before the first invocation, and leave no request open: the process may be frozen next."""
        await self.enter()
        await self.app.stop_listener(grace=0)

    async def leave(self) -> None:
        """Leave the app, if it is entered. Raises what it died of."""
        ended, self.ended = self.ended, None
        if ended is not None:
            ended.cancel()
            await asyncio.wait([ended])
            self.app.end_grace()  # between two invocations only what ignores its cancellation still runs
            try:
                await self.app.__aexit__(None, None, None)
            finally:
                self._unwrap()

    def forget_loop(self) -> None:
        """Be ready for another event loop."""
        self.wake, self.stopping = asyncio.Event(), False

    def _wrapped(self, name: str, backend: Backend) -> Backend:
        return self.queues.get(name, backend)

    def _unwrap(self) -> None:
        self.app.wrap_queues(lambda _, backend: backend.inner if isinstance(backend, LambdaQueue) else backend)

    def _know(self, name: str, backend: Backend) -> Backend:
        """Make what serves one queue of the app while it is entered here."""
        if not isinstance(backend, SQS):
            # In ASCII: AWS's runtime interface client cannot report an error of an import that has other characters.
            self.refusal = (
                f"a Lambda function works on SQS queues only, and the queue {name!r} is {backend!r}: Lambda stops the "
                f"process whenever it likes, and what is in its memory or in its files is lost then; write "
                f"Dawdle(SQS('https://...')), or set DAWDLE_SQS_QUEUE_URL on the function"
            )
            if in_lambda():
                raise ConfigurationError(self.refusal)
            return backend  # a test that imports the function is no reason to fail; calling it is
        self.queues[name] = LambdaQueue(backend)
        return backend
