"""Whether the receives of one queue succeed, and the back-off after a failure. The rules say how long it lasts."""

import random
from collections.abc import Callable

from dawdle._flow.hook_calls import HookCaller
from dawdle._log import EventLog
from dawdle._rules.health import QueueHealth
from dawdle._rules.outcome import error_text
from dawdle._rules.receive_backoff import pause_after
from dawdle.abc import Clock
from dawdle.errors import BackendError, FaultKind
from dawdle.hooks import ReceiveFailed

__all__ = ["ReceiveState"]

_log = EventLog(__name__)


class ReceiveState:
    """The state of all receives of one queue together: when one succeeds, the queue works."""

    def __init__(self, queue: str, clock: Clock, hooks: HookCaller, recovered: Callable[[FaultKind], None]) -> None:
        self._queue = queue
        self._recovered = recovered
        self._clock = clock
        self._hooks = hooks
        self._failures = 0
        self._kind: FaultKind | None = None
        self._error: str | None = None
        self._completed_at: float | None = None
        self._waiting_since: float | None = None

    def begin_waiting(self) -> None:
        """Note that a receive begins, or would begin if it could: the time without an answer counts from now."""
        if self._waiting_since is None:
            self._waiting_since = self._clock.monotonic()

    def end_waiting(self) -> None:
        """Note that no receive is wanted any more: the queue is not late with an answer."""
        self._waiting_since = None

    def completed(self) -> None:
        """Note that a receive was answered, with or without messages."""
        if self._kind is not None:
            self._recovered(self._kind)  # other calls to this queue that failed by the same may not come for days
            _log.warning(
                "receiving from %s works again (failures in a row: %d)", self._queue, self._failures, about=None
            )
        self._completed_at = self._clock.monotonic()
        self._waiting_since = self._kind = self._error = None
        self._failures = 0

    def log_failure(self, error: Exception) -> None:
        """Log the failure of one receive among several. It starts no back-off: the others may succeed."""
        kind, text = _read(error)
        _log.warning(
            "one of several receives from %s failed (%s); the others go on: %s", self._queue, kind, text, about=None
        )
        if self._hooks:
            self._hooks(ReceiveFailed(self._queue, text, 0.0, kind))

    async def wait_after_failure(self, error: Exception) -> None:
        """Log a failure, and wait until the next receive. Raises the error if no later receive can succeed."""
        kind, text = _read(error)
        self._failures += 1
        self._kind, self._error = kind, text
        pause = pause_after(kind, self._failures, random.random())
        if pause is None:
            _log.error("cannot receive from %s and will not try again; the app ends: %s", self._queue, text, about=None)
            raise error
        _log.warning(
            "receiving from %s failed (%s); trying again in %.2g s: %s", self._queue, kind, pause, text, about=None
        )
        if self._hooks:
            self._hooks(ReceiveFailed(self._queue, text, pause, kind))
        await self._clock.sleep_until(self._clock.monotonic() + pause)

    def health(self, may_wait: float) -> QueueHealth:
        """Return the health of the receives; `may_wait`: seconds that one of them may take when all is well."""
        now = self._clock.monotonic()
        return QueueHealth(
            queue=self._queue,
            last_receive=None if self._completed_at is None else now - self._completed_at,
            waited=0.0 if self._waiting_since is None else now - self._waiting_since,
            may_wait=may_wait,
            backoff=self._kind,
            failures=self._failures,
            error=self._error,
        )


def _read(error: Exception) -> tuple[FaultKind, str]:
    if isinstance(error, BackendError):
        return error.kind, str(error)
    return "unavailable", error_text(error)
