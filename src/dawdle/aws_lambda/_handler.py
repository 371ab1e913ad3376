"""The function that Lambda calls: its event loop and its app, which live from one invocation to the next.

    new ──── first invocation ────► entered ──── SIGTERM, or close() ────► left
                                       │  ▲
                        invocation ────┘  └──── between two, nothing runs: Lambda freezes the process

The loop runs only while an invocation does. So no timer, poll or request is cut in two by a freeze.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING, Protocol, cast

import dawdle
from dawdle._log import Log
from dawdle.abc import Backend
from dawdle.aws_lambda._foreign import Foreign, Reader
from dawdle.aws_lambda._invocation import Invocation
from dawdle.aws_lambda._queue import LambdaQueue
from dawdle.aws_lambda._reporting import Reporting, in_lambda
from dawdle.backends.sqs import SQS
from dawdle.errors import ConfigurationError, shown, to_seconds

if TYPE_CHECKING:
    from typing import Any

__all__ = ["LambdaContext", "LambdaHandler", "handler"]

_log = Log(__name__)

class LambdaContext(Protocol):
    """What is read of Lambda's context object."""

    @property
    def aws_request_id(self) -> str:
        """The id of the invocation."""
        ...

    @property
    def invoked_function_arn(self) -> str:
        """The ARN by which the function was invoked."""
        ...

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the function's timeout."""
        ...


Otherwise = Callable[["Any", "Any"], Awaitable[object]]
"""An async function that takes an event and the context, as any Lambda function does."""


def handler(
    app: dawdle.Dawdle,
    *,
    foreign: Sequence[Foreign] = (),
    otherwise: Otherwise | None = None,
    report_batch_item_failures: bool | None = None,
    margin: float | timedelta | None = None,
) -> "LambdaHandler":
    """Return the function that Lambda calls with the messages of the app's queues: `handler = aws_lambda.handler(app)`.

    The event source is an SQS queue of the app, or several, by an event source mapping or by EventBridge Pipes. Every
    handler runs, is retried, delayed and dead-lettered as in a worker. The app is entered at the first invocation, and
    lives until the process ends.

    - `foreign`: as which of your types the events of S3, EventBridge and SNS are read, see `s3`, `eventbridge`, `sns`.
    - `otherwise`: an async function for all other events, such as requests of API Gateway. It takes the event and the
      context, may signal, and its result is returned.
    - `report_batch_item_failures`: whether the event source mapping has `ReportBatchItemFailures`. With True, what is
      unfinished is reported. With False, what is done is deleted, and an `UnfinishedRecordsError` is raised. None: asks
      Lambda at the first need (`lambda:ListEventSourceMappings`), and where it may not ask, does as with False: if a
      report is not read, Lambda deletes what it names.
    - `margin`: seconds before the function's timeout at which handlers that still run are cancelled. Default: a tenth
      of the timeout, 0.5 to 5 seconds.

    Raises `ConfigurationError` for an app whose queues are not in SQS: here in Lambda, elsewhere when it is called.
    """
    return LambdaHandler(
        app,
        foreign=foreign,
        otherwise=otherwise,
        report_batch_item_failures=report_batch_item_failures,
        margin=margin,
    )


class LambdaHandler:
    """An app as a Lambda function. Made by `handler`; Lambda calls it, and a test may, too."""

    def __init__(
        self,
        app: dawdle.Dawdle,
        *,
        foreign: Sequence[Foreign] = (),
        otherwise: Otherwise | None = None,
        report_batch_item_failures: bool | None = None,
        margin: float | timedelta | None = None,
    ) -> None:
        if not isinstance(cast("object", app), dawdle.Dawdle):
            raise ConfigurationError(f"handler() takes the app, a dawdle.Dawdle, not {shown(app)}")
        self.app = app
        self.reader = Reader(foreign)
        self.otherwise = otherwise
        self.reporting = Reporting(report_batch_item_failures)
        self.margin = None if margin is None else to_seconds(margin, "margin is")
        self.queues: dict[str, LambdaQueue] = {}
        self._refusal: str | None = None
        app.wrap_queues(self._wrap)
        self.ended: asyncio.Task[None] | None = None
        """Done once the app has died; None while it is not entered."""
        self.wake = asyncio.Event()
        """Set whenever the invocation that waits has to look again."""
        self.stopping = False
        """SIGTERM came in mid-invocation."""
        self.stopped_late: set[asyncio.Task[None]] = set()
        """Ends of invocations whose handlers ignore cancellation."""
        self._runner: asyncio.Runner | None = None
        self._running = threading.Lock()
        self._before: Callable[[int, FrameType | None], object] | int | None = None
        self._takes_sigterm = False

    def __call__(self, event: object, context: object = None) -> object:
        """Handle one invocation, and return its answer. Raises what keeps the app from working at all."""
        if self._refusal is not None:
            raise ConfigurationError(self._refusal)
        if not self._running.acquire(blocking=False):
            raise ConfigurationError("this function is running already: Lambda invokes one at a time in each process")
        try:
            self._refuse_running_loop()
            self._take_sigterm()
            return self._runner_here().run(Invocation(self, event, context).run())
        finally:
            self._running.release()
            if self.stopping:
                self.close()

    def close(self) -> None:
        """Leave the app, and close the event loop: at the end of a test or a script. The next call enters it again."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            runner.run(self.leave())
        finally:
            runner.close()
            self.wake, self.stopping = asyncio.Event(), False
            self._give_sigterm_back()

    async def enter(self) -> None:
        """Enter the app, unless it is. Raises what it died of since, or what keeps it from being entered."""
        if self.ended is not None and self.ended.done():
            await self.leave()
        if self.ended is None:
            await self.app.__aenter__()
            self.ended = asyncio.create_task(self.app.ended(), name="dawdle: wait for the app")
            self.ended.add_done_callback(lambda _: self.wake.set())

    async def leave(self) -> None:
        """Leave the app, if it is entered. Raises what it died of."""
        ended, self.ended = self.ended, None
        if ended is not None:
            ended.cancel()
            await asyncio.wait([ended])
            self.app.end_grace()  # between two invocations only what ignores its cancellation still runs
            await self.app.__aexit__(None, None, None)

    def _wrap(self, name: str, backend: Backend) -> Backend:
        if isinstance(backend, LambdaQueue):
            raise ConfigurationError("this app has a Lambda handler already: make one, and export it under each name")
        if not isinstance(backend, SQS):
            # In ASCII: AWS's runtime interface client cannot report an error of an import that has other characters.
            self._refusal = (
                f"a Lambda function works on SQS queues only, and the queue {name!r} is {backend!r}: Lambda stops the "
                f"process whenever it likes, and what is in its memory or in its files is lost then; write "
                f"Dawdle(SQS('https://...')), or set DAWDLE_SQS_QUEUE_URL on the function"
            )
            if in_lambda():
                raise ConfigurationError(self._refusal)
            return backend  # a test that imports the function is no reason to fail; calling it is
        self.queues[name] = LambdaQueue(backend)
        return self.queues[name]

    def _runner_here(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner

    def _refuse_running_loop(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise ConfigurationError(
            "a Lambda function runs an event loop of its own, and one is running here already: call it as "
            "`await asyncio.to_thread(handler, event, context)`"
        )

    # The end of the process.

    def _take_sigterm(self) -> None:
        """Take SIGTERM from now on. Only the main thread can, and in Lambda it is the one that is invoked."""
        if self._takes_sigterm or threading.current_thread() is not threading.main_thread():
            return
        self._before = signal.getsignal(signal.SIGTERM)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self._takes_sigterm = True

    def _give_sigterm_back(self) -> None:
        if self._takes_sigterm and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.SIG_DFL if self._before is None else self._before)
            self._takes_sigterm = False

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Leave the app and end the process; in mid-invocation, end the invocation first."""
        if self._running.locked() and self._runner is not None:
            _log.warning("SIGTERM in mid-invocation: cancelling the handlers that still run")
            # The runtime sends the answer after that, so the process is not ended here: Lambda does.
            self.stopping = True
            self._runner.get_loop().call_soon_threadsafe(self.wake.set)
            return
        before = self._before
        try:
            self.close()
        except Exception:  # noqa: BLE001 - the process ends in any case
            _log.exception("the app could not be left after SIGTERM")
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
