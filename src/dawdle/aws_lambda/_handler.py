"""The function that Lambda calls: its event loop and its app, which live from one invocation to the next.

    new ──── first invocation ────► entered ──── SIGTERM, or close() ────► left
                                       │  ▲
                        invocation ────┘  └──── between two, nothing runs: Lambda freezes the process

The loop runs only while an invocation does. So no timer, poll or request is cut in two by a freeze.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from types import FrameType
from typing import Final, cast

import dawdle
from dawdle._log import Log
from dawdle.aws_lambda._foreign import Foreign
from dawdle.aws_lambda._invocation import Invocation
from dawdle.aws_lambda._reporting import in_lambda
from dawdle.aws_lambda._sandbox import Otherwise, Sandbox
from dawdle.errors import ConfigurationError, shown, to_seconds

__all__ = ["LambdaHandler", "handler"]

_log = Log(__name__)


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
    handler runs, is retried, delayed and dead-lettered as in a worker. The app is entered here in Lambda, elsewhere at
    the first invocation, and lives until the process ends.

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


NOTICES_SIGNALS: Final = sys.version_info >= (3, 12)
"""Whether the process notices a signal between two invocations. AWS's client waits for the next one in code in C, and
from Python 3.12 on in a thread of its own. Before, a process that took the signal would not end."""


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
        self._sandbox = Sandbox(
            app,
            foreign=foreign,
            otherwise=otherwise,
            report_batch_item_failures=report_batch_item_failures,
            margin=None if margin is None else to_seconds(margin, "margin is"),
        )
        self._runner: asyncio.Runner | None = None
        self._running = threading.Lock()
        self._before: Callable[[int, FrameType | None], object] | int | None = None
        self._takes_sigterm = False
        if in_lambda() and os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") != "snap-start" and not _loop_runs_here():
            self._enter_early()

    def __call__(self, event: object, context: object = None) -> object:
        """Handle one invocation, and return its answer. Raises what keeps the app from working at all."""
        if self._sandbox.refusal is not None:
            raise ConfigurationError(self._sandbox.refusal)
        if not self._running.acquire(blocking=False):
            raise ConfigurationError("this function is running already: Lambda invokes one at a time in each process")
        try:
            if _loop_runs_here():
                raise ConfigurationError(
                    "a Lambda function runs an event loop of its own, and one is running here already: call it as "
                    "`await asyncio.to_thread(handler, event, context)`"
                )
            self._take_sigterm()
            return self._runner_here().run(Invocation(self._sandbox, event, context).run())
        finally:
            self._running.release()
            if not NOTICES_SIGNALS:
                self._give_sigterm_back()
            if self._sandbox.stopping:
                self.close()

    def close(self) -> None:
        """Leave the app, and close the event loop: at the end of a test or a script. The next call enters it again."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        try:
            runner.run(self._sandbox.leave())
        finally:
            runner.close()
            self._sandbox.forget_loop()
            self._give_sigterm_back()

    def _enter_early(self) -> None:
        """Enter the app while Lambda initializes the process: it has all of a CPU then, and later a part of one.

        Not where Lambda takes a snapshot of the process next: connections of a lifespan would be in it.
        """
        try:
            self._runner_here().run(self._sandbox.enter_early())
        except Exception as error:  # noqa: BLE001 - the first invocation tries again, and raises it
            _log.error(
                "could not enter the app when the function was imported, and the first invocation tries again: %s: %s",
                type(error).__name__,
                error,
            )

    def _runner_here(self) -> asyncio.Runner:
        if self._runner is None:
            self._runner = asyncio.Runner()
        return self._runner

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
            self._sandbox.stopping = True
            self._runner.get_loop().call_soon_threadsafe(self._sandbox.wake.set)
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


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
