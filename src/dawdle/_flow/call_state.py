"""How the calls to one queue fare, and to those behind it, but for receives: facts, which the rules judge.

A queue tells what each call came back with; nothing here asks, waits or decides.
"""

from collections.abc import Sequence

import msgspec

from dawdle._rules.health import CallName, FailingCalls
from dawdle._rules.outcome import error_text
from dawdle.abc import Clock, Fault
from dawdle.errors import BackendError, FaultKind

__all__ = ["CallState"]


class _Row(msgspec.Struct):
    """Failures in a row. Times are the clock's monotonic seconds."""

    first: float
    latest: float
    kind: FaultKind
    error: str
    failures: int = 1


class CallState:
    """The calls of each kind that fail now, by the queue that they go to."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing: dict[tuple[str, CallName], _Row] = {}

    def answered(self, queue: str, call: CallName, answers: Sequence[object]) -> None:
        """Note what a batch came back with. An entry that is refused, or has an old receipt, says nothing of others."""
        if any(answer is None for answer in answers):
            self._succeeded(queue, call)
            return
        for answer in answers:
            if isinstance(answer, Fault) and answer.kind not in {"refused", "lost"}:
                self._failed(queue, call, answer.kind, answer.reason)
                return

    def failed(self, queue: str, call: CallName, error: Exception) -> None:
        """Note that a call failed as a whole."""
        if isinstance(error, BackendError):
            self._failed(queue, call, error.kind, str(error))
        else:
            self._failed(queue, call, "unavailable", error_text(error))

    def recovered(self, kind: FaultKind) -> None:
        """Note that calls which failed so work again.

        Calls of other kinds that failed by the same, such as expired credentials, may not be made again for days: what
        they failed by is over as far as anybody knows, and the next one says if it is not.
        """
        self._failing = {key: row for key, row in self._failing.items() if row.kind != kind}

    def failing(self) -> tuple[FailingCalls, ...]:
        """Return what fails now."""
        now = self._clock.monotonic()
        return tuple(
            FailingCalls(
                queue=queue,
                call=call,
                kind=row.kind,
                failures=row.failures,
                first=now - row.first,
                latest=now - row.latest,
                error=row.error,
            )
            for (queue, call), row in self._failing.items()
        )

    def _succeeded(self, queue: str, call: CallName) -> None:
        row = self._failing.pop((queue, call), None) if self._failing else None
        if row is not None:
            self.recovered(row.kind)

    def _failed(self, queue: str, call: CallName, kind: FaultKind, error: str) -> None:
        now = self._clock.monotonic()
        row = self._failing.get((queue, call))
        if row is None:
            self._failing[queue, call] = _Row(now, now, kind, error)
        else:
            row.latest, row.kind, row.error, row.failures = now, kind, error, row.failures + 1
