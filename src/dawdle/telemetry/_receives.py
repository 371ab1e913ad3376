"""The spans of receives: each links to the messages that it brought, which are known only when they are opened."""

import asyncio
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, set_span_in_context

__all__ = ["Receives"]

LINK_SECONDS: Final = 1.0
"""Seconds that a receive's span waits for links to the messages that it brought."""

MAX_RECEIVED: Final = 10_000
"""Messages whose receives are known: more than are in flight."""


class _Receive:
    """The span of one receive."""

    __slots__ = ("context", "ends", "ids", "span")

    def __init__(self, span: Span, ends: int, ids: Sequence[str]) -> None:
        self.span = span
        self.context = set_span_in_context(span, Context())
        self.ends = ends
        self.ids = set(ids)
        """The messages that it has no link to so far."""

    def end(self) -> None:
        """End the span, as of the time when the receive came back."""
        self.ids.clear()
        if self.span.is_recording():
            self.span.end(self.ends)


class Receives:
    """The receives that brought what is in flight."""

    def __init__(self) -> None:
        self._by_message: dict[tuple[str, str], _Receive] = {}
        """By queue and message. A message is taken out when it is settled."""

    def begin(self, span: Span, ends: int, queue: str, ids: Sequence[str]) -> None:
        """Take the span of a receive that came back at `ends`, in nanoseconds, with these messages.

        It ends when it has a link to each of them, or after a second.
        """
        receive = _Receive(span, ends, ids)
        self._by_message.update(dict.fromkeys(((queue, each) for each in ids), receive))
        if span.is_recording():
            asyncio.get_running_loop().call_later(LINK_SECONDS, receive.end)
        while len(self._by_message) > MAX_RECEIVED:  # such as messages whose lease was lost: they are not settled here
            del self._by_message[next(iter(self._by_message))]

    def link(self, queue: str, message_id: str, link: Link | None) -> Context | None:
        """Link the span of a message's receive to the message's signal, once; return the context of that span.

        `link`: None if the message names no trace. None is returned for a direct event.
        """
        receive = self._by_message.get((queue, message_id))
        if receive is None:
            return None
        if message_id in receive.ids:
            receive.ids.discard(message_id)
            if link is not None:
                receive.span.add_link(link.context, link.attributes)
            if not receive.ids:
                receive.end()
        return receive.context

    def forget(self, queue: str, message_id: str) -> None:
        """Take out a message that is settled."""
        self._by_message.pop((queue, message_id), None)

    def end_all(self) -> None:
        """End all spans: the app was left."""
        for receive in self._by_message.values():
            receive.end()
        self._by_message.clear()
