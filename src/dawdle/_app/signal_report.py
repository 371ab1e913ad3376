"""Reports one call that signals to the hooks: what began, and how it ended for each event and queue. Stores nothing."""

import asyncio
from collections.abc import Sequence

from dawdle._flow.hook_calls import HookCaller
from dawdle._rules.outcome import error_text
from dawdle.abc import Clock
from dawdle.errors import BackendError, FaultKind, SignalError, may_have_been_done
from dawdle.hooks import Encoded, Signaled, SignaledDirect, SignalFailed, SignalStarted

__all__ = ["SignalReport"]


class SignalReport:
    """One call of `signal` or `signal_many`, as the hooks get to know it. An app without hooks makes none."""

    def __init__(self, hooks: HookCaller, clock: Clock) -> None:
        self._hooks = hooks
        self._clock = clock
        self._began = clock.monotonic()
        self._encoding: tuple[str, float] | None = None
        """The event that is being encoded, and since when."""
        self._open: dict[tuple[str, str], str] = {}
        """By event and queue: the type of what has begun and has not ended."""

    def started(self, event_id: str, event_type: str, queues: Sequence[str]) -> None:
        """Report that an event is about to be encoded."""
        self._open.update(((event_id, queue), event_type) for queue in queues)
        self._hooks(SignalStarted(event_id, event_type, tuple(queues)))
        self._encoding = event_id, self._clock.monotonic()

    def encoded(self, event_id: str, event_type: str, size: int) -> None:
        """Report that an event has become a message of so many bytes."""
        assert self._encoding is not None, "what is encoded has begun"
        self._hooks(Encoded(event_id, event_type, size, self._clock.monotonic() - self._encoding[1]))
        self._encoding = None

    def stored(self, event_id: str, queue: str, delay: float) -> None:
        """Report that a queue has stored an event."""
        event_type = self._open.pop((event_id, queue))
        self._hooks(Signaled(queue, event_id, event_type, delay, self._seconds()))

    def ran_direct(self, event_id: str, queue: str) -> None:
        """Report that the handlers of an event have started."""
        event_type = self._open.pop((event_id, queue))
        self._hooks(SignaledDirect(queue, event_id, event_type, self._seconds()))

    def failed(self, error: BaseException) -> None:
        """Report that the call has ended by an error: whatever has not ended before has failed."""
        if isinstance(error, GeneratorExit):  # the loop is closed, and a hook could do nothing of use
            return
        left, self._open = self._open, {}
        for (event_id, queue), event_type in left.items():
            text, kind, uncertain = self._reason(event_id, error)
            self._hooks(SignalFailed(queue, event_id, event_type, text, kind, uncertain, self._seconds()))

    def _reason(self, event_id: str, error: BaseException) -> tuple[str, FaultKind | None, bool]:
        """Return why an event is not stored, the kind of its queue's fault, and whether it may be stored."""
        if isinstance(error, SignalError) and event_id in error.failed:
            failed = error.failed[event_id]
            kind = failed.kind if isinstance(failed, BackendError) else None
            return str(failed), kind, may_have_been_done(failed)
        if isinstance(error, asyncio.CancelledError):
            return "the call was cancelled", None, True
        if self._encoding is not None and self._encoding[0] != event_id:
            return f"another event of the same call cannot travel: {error_text(error)}", None, False
        return error_text(error), None, False

    def _seconds(self) -> float:
        return self._clock.monotonic() - self._began
