"""Which calls to a queue and its attached queues fail now, all but the receives. Facts only: the rules judge them.

The queue client reports the result of each call; nothing here makes a call, waits or decides.
"""

from collections.abc import Sequence

import msgspec

from dawdle._rules.health import CallName, FailingCalls
from dawdle._rules.outcome import error_text
from dawdle.abc import Clock, Fault
from dawdle.errors import BackendError, FaultKind

__all__ = ["CallState"]


class _Streak(msgspec.Struct):
    """Failures in a row. Times are the clock's monotonic seconds."""

    first: float
    latest: float
    kind: FaultKind
    error: str
    failures: int = 1


class CallState:
    """The calls that fail now, by queue and by what they do (send, delete, release, renew)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failing: dict[tuple[str, CallName], _Streak] = {}

    def answered(self, queue: str, call: CallName, answers: Sequence[object]) -> None:
        """Note the answers to a batch. A refused entry, or one with an old receipt, says nothing about the queue."""
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
        """Note that the queue works again after faults of this kind.

        This ends the failures of other calls by the same fault too, such as expired credentials. Those calls may not be
        made again for days, and `health()` would report a failure that is over. The next such call shows if it is not.
        """
        self._failing = {key: streak for key, streak in self._failing.items() if streak.kind != kind}

    def failing(self) -> tuple[FailingCalls, ...]:
        """Return the calls that fail now."""
        now = self._clock.monotonic()
        return tuple(
            FailingCalls(
                queue=queue,
                call=call,
                kind=streak.kind,
                failures=streak.failures,
                first=now - streak.first,
                latest=now - streak.latest,
                error=streak.error,
            )
            for (queue, call), streak in self._failing.items()
        )

    def _succeeded(self, queue: str, call: CallName) -> None:
        # Every send and ack that works comes through here: as a rule nothing fails, and that must cost no key.
        streak = self._failing.pop((queue, call), None) if self._failing else None
        if streak is not None:
            self.recovered(streak.kind)

    def _failed(self, queue: str, call: CallName, kind: FaultKind, error: str) -> None:
        now = self._clock.monotonic()
        streak = self._failing.get((queue, call))
        if streak is None:
            self._failing[queue, call] = _Streak(now, now, kind, error)
        else:
            streak.latest, streak.kind, streak.error, streak.failures = now, kind, error, streak.failures + 1
