"""Runs the handlers of an event here and now, past the queue. It is owed from the call on, as if it were stored."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from dawdle._flow.handler_scope import current_scope
from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import Work
from dawdle._flow.processor import Processor
from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._rules.envelope import Envelope
from dawdle.errors import BackendError

__all__ = ["DirectRunner"]

_DIED: Final = "the app has died: the event was neither handled nor stored"
_LEFT: Final = "the app closed before a handler could start, and its queue did not confirm that the event is stored"


class DirectRunner:
    """Takes direct events in. Each is processed in a task of its own; its caller waits only for the start."""

    def __init__(
        self,
        *,
        in_flight: InFlight,
        processor: Processor,
        handlers: AppHandlers,
        start: Callable[[Coroutine[object, object, None]], asyncio.Task[None]],
    ) -> None:
        self._in_flight = in_flight
        self._processor = processor
        self._handlers = handlers
        self._start = start

    async def run(
        self,
        queue: QueueClient,
        handlers: tuple[Handler, ...],
        envelope: Envelope,
        body: bytes,
        event: object,
        group: str | None,
    ) -> None:
        """Take a direct event, and return when its handlers have started, or it is stored since the app is being left.

        It is in flight from this call on, with all of its handlers: a caller that is cancelled changes nothing. Raises
        `BackendError` if neither came to pass.
        """
        message = self._in_flight.add_direct(queue, group)
        missing = self._handlers.missing_for(type(event), queue.name if queue.is_one_of_several else None)
        work = Work(event, envelope, body, message, handlers, missing=missing)
        processing = self._processor.process_direct(work, over_limit=current_scope() is not None)
        try:
            processed = self._start(processing)
        except RuntimeError as error:  # the group is ending: the app has died just now
            self._in_flight.finish(message)
            raise BackendError(_DIED, uncertain=False) from error
        started = message.handlers_started
        assert started is not None, "a direct event says when its handlers have started"
        ends: list[asyncio.Future[bool] | asyncio.Future[None]] = [started, processed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not started.done():  # the app died before its task had its first turn
            self._in_flight.finish(message)
        if not started.result():
            raise BackendError(_LEFT if message.interrupted else _DIED, uncertain=message.interrupted)
        await asyncio.sleep(0)  # each of several handlers starts in a task of its own
