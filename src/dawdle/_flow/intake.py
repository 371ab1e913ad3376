"""Reads what was received: its size, signature and envelope, then which handlers run, then the event. Runs nothing.

Each step may end it. What cannot be handled is a settlement here, and never an error.
"""

import random
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage, Work
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._handlers.handler import Handler
from dawdle._rules.admission import Run, admit, not_decoded
from dawdle._rules.codec import open_event
from dawdle._rules.dead_lettering import undecodable, unreadable
from dawdle._rules.envelope import Envelope, rewrite, to_epoch
from dawdle._rules.expiry import stamped
from dawdle._rules.in_place import delayed, in_place
from dawdle._rules.received_body import Opened, Unreadable, open_message
from dawdle._rules.settlement import Settlement
from dawdle._rules.signing import Signer
from dawdle.abc import Codec, Delivery
from dawdle.errors import EventError
from dawdle.hooks import Decoded

__all__ = ["Declined", "Intake"]


class Declined(NamedTuple):
    """A message of which no handler can run, and what becomes of it; without an envelope where it could not be read."""

    envelope: Envelope | None
    settlement: Settlement


class Intake:
    """What every received message goes through before a handler runs."""

    def __init__(
        self,
        *,
        codecs: Mapping[str, Codec],
        signer: Signer,
        handlers: AppHandlers,
        queues: frozenset[str] | None,
        hooks: HookCaller,
    ) -> None:
        self._codecs = codecs
        self._signer = signer
        self._handlers = handlers
        self._hooks = hooks
        self._queues = queues  # the names of the app's queues; None if it has one, without a name

    def open(self, message: InFlightMessage, delivery: Delivery) -> Opened | Declined:
        """Check the size and the signature of a body, and open its envelope."""
        found = open_message(delivery.body, self._signer, message.queue.limits.max_body)
        if isinstance(found, Opened):  # nearly always
            if delivery.traceparent is not None and found.envelope.traceparent is None:
                return _traced(found, delivery.traceparent)
            return found
        now, terms = message.now(), message.main_queue.terms
        if isinstance(found, Unreadable):
            return Declined(None, undecodable(found.body, delivery.key, found.reason, now, terms))
        return Declined(found.envelope, unreadable(found.body, found.envelope, found.reason, now, terms))

    def admit(self, message: InFlightMessage, delivery: Delivery, opened: Opened) -> Work | Settlement:
        """Ask the rules which handlers run, and decode the event for them."""
        body, envelope = opened.body, opened.envelope
        now, terms = message.now(), message.main_queue.terms
        stored_at = _stored_at(delivery, envelope, message)
        if envelope.lifetime_ms is not None:
            body, envelope = stamped(body, envelope, stored_at)
        if terms.ordered and message.queue is not message.main_queue:
            return delayed(body, envelope, stored_at=stored_at, now=now, terms=terms)
        run = admit(
            body,
            envelope,
            self._handlers.snapshot(),
            self._codecs,
            stored_at=stored_at,
            now=now,
            terms=terms,
            random=random.random,
            receives=delivery.receive_count,
            queue=None if self._queues is None else self._queue_of(message, envelope),
        )
        if terms.ordered:
            run = self._in_place(message, delivery, body, envelope, run)
        if not isinstance(run, Run):
            return run
        if terms.ordered:
            message.attempt = run.attempt
        try:
            if self._hooks:
                event = self._decode_and_report(message, body, envelope, run.event_type)
            else:
                event = open_event(envelope, run.event_type, self._codecs)
        except EventError as error:
            kind = run.event_type
            run = not_decoded(body, envelope, kind, error, now=now, terms=terms, random=random.random)
            if terms.ordered:
                run = self._in_place(message, delivery, body, envelope, run)
            assert not isinstance(run, Run), "what cannot be decoded is not run"
            return run
        return Work(event, envelope, body, message, run.handlers, run.attempt, run.missing, run.isolated)

    def _decode_and_report(
        self, message: InFlightMessage, body: bytes, envelope: Envelope, event_type: type[object]
    ) -> object:
        began = message.clock.monotonic()
        event = open_event(envelope, event_type, self._codecs)
        seconds = message.clock.monotonic() - began
        self._hooks(Decoded(message.queue.name, envelope.id, envelope.type, len(body), seconds))
        return event

    def _in_place(
        self,
        message: InFlightMessage,
        delivery: Delivery,
        body: bytes,
        envelope: Envelope,
        decision: Run[Handler] | Settlement,
    ) -> Run[Handler] | Settlement:
        """Return what a decision means on an ordered queue, where a message keeps its place."""
        return in_place(
            body,
            envelope,
            decision,
            receives=delivery.receive_count,
            past=message.past,
            stored_at=_stored_at(delivery, envelope, message),
            now=message.now(),
            terms=message.main_queue.terms,
            random=random.random,
        )

    def _queue_of(self, message: InFlightMessage, envelope: Envelope) -> str:
        """Return the name of the queue whose handlers run: as a rule the one from which the message was received."""
        # A copy for one queue may arrive on another: an operator moved it, or redrove it. Its handlers are those of the
        # queue that it names. But a name is one app's word for a queue: one that this app does not know is its sender's
        # word for the queue from which the copy was received.
        if envelope.only is not None and self._queues is not None and envelope.only in self._queues:
            return envelope.only
        return message.queue.name


def _traced(opened: Opened, traceparent: str) -> Opened:
    """Return a message of another program with its trace in the body, so that each copy of it has it too."""
    envelope = msgspec.structs.replace(opened.envelope, traceparent=traceparent)
    return Opened(rewrite(opened.body, {"traceparent": traceparent}), envelope)


def _stored_at(delivery: Delivery, envelope: Envelope, message: InFlightMessage) -> float:
    """Return when the queue stored a message; where it has no clock, when the event was signaled, which is over."""
    if delivery.stored_at is not None:
        return delivery.stored_at
    return message.received_at if envelope.time is None else min(message.received_at, to_epoch(envelope.time))
