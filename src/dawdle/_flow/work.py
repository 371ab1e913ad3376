"""One event, decoded, with the handlers that run on it and what has come of them so far. Facts; runs nothing."""

import msgspec

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._handlers.handler import Handler
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Result

__all__ = ["Work"]


class Work(msgspec.Struct, frozen=True):
    """One event, decoded, the handlers that run on it, and the message that holds it."""

    event: object
    envelope: Envelope
    body: bytes
    message: InFlightMessage
    handlers: tuple[Handler, ...]
    attempt: int = 1
    """Which try this is, from 1."""
    missing: tuple[str, ...] = ()
    """Names of handlers that the type names and this app lacks: each is owed a copy when the work is settled."""
    isolated: bool = False
    """It runs with nothing else in flight."""
    results: dict[str, Result] = {}
    """By handler's name: what has come of those that have ended."""

    def __repr__(self) -> str:
        return f"<Work on {self.envelope!r}>"
