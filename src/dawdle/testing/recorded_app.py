"""An app that keeps what is signaled by it, with the events themselves. Nothing else about it is special."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast

from dawdle import Dawdle
from dawdle.events import event_style
from dawdle.testing.recording import Recording, Signals

__all__ = ["RecordedApp"]


class RecordedApp(Dawdle):
    """A `Dawdle` whose calls that signal note what they have signaled."""

    _recording: Recording

    @property
    def signals(self) -> Signals:
        """What was signaled, in order."""
        return self._recording.signals

    def _seconds(self, delay: float | timedelta | None, at: datetime | None) -> float:
        """Return how long an event waits that was signaled so; the call has checked both."""
        if at is not None:
            return max(0.0, at.timestamp() - self._settings.clock.now())
        return delay.total_seconds() if isinstance(delay, timedelta) else float(delay or 0.0)

    async def signal(
        self,
        event: object,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        expires: float | timedelta | None = None,
        direct: bool = False,
        id: str | None = None,  # noqa: A002 - as in `Dawdle`
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        queue: str | Sequence[str] | None = None,
        transaction: object | None = None,
    ) -> str:
        """Signal an event as `Dawdle.signal` does, and keep it in `signals`."""
        event_id = await super().signal(
            event,
            delay=delay,
            at=at,
            expires=expires,
            direct=direct,
            id=id,
            group=group,
            headers=headers,
            source=source,
            queue=queue,
            transaction=transaction,
        )
        self._recording.signaled(event, event_id, headers, self._seconds(delay, at))
        return event_id

    async def signal_many(
        self,
        events: Iterable[object],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        expires: float | timedelta | None = None,
        group: str | None = None,
        headers: Mapping[str, str] | None = None,
        source: str | None = None,
        queue: str | Sequence[str] | None = None,
        transaction: object | None = None,
    ) -> list[str]:
        """Signal events as `Dawdle.signal_many` does, and keep them in `signals`."""
        # An event is iterable too, if it is a pydantic model, and so is a text: those `signal_many` refuses.
        if isinstance(cast("object", events), Iterable) and not isinstance(events, str | bytes):
            events = events if event_style(type(events)) is not None else list(events)
        event_ids = await super().signal_many(
            events,
            delay=delay,
            at=at,
            expires=expires,
            group=group,
            headers=headers,
            source=source,
            queue=queue,
            transaction=transaction,
        )
        for event, event_id in zip(events, event_ids, strict=True):
            self._recording.signaled(event, event_id, headers, self._seconds(delay, at))
        return event_ids
