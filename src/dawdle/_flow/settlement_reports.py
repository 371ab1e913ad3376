"""Counts, logs and reports to the hooks what became of messages. The settler says what it did; this decides nothing."""

from collections.abc import Callable

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._log import About, EventLog
from dawdle._rules.copies import Copy
from dawdle._rules.envelope import Envelope
from dawdle._rules.settlement import Release
from dawdle.abc import Clock
from dawdle.errors import one_line
from dawdle.hooks import DeadLettered, Expired, Forwarded, Settled, VerdictName

__all__ = ["SettlementReports", "label_of"]

_log = EventLog(__name__)


class SettlementReports:
    """The reports of one app. `letter_stored` is told of each dead letter."""

    def __init__(
        self, *, clock: Clock, hooks: HookCaller, letter_stored: Callable[[InFlightMessage, Copy, About], None]
    ) -> None:
        self._clock = clock
        self._hooks = hooks
        self._letter_stored = letter_stored
        self.dead_letters = 0
        """How many dead letters were stored."""
        self.unclaimed = 0
        """How many copies were stored for a node that has the handler."""
        self.expired = 0
        """How many messages were dropped since they had expired."""

    def is_settled(
        self, message: InFlightMessage, envelope: Envelope | None, verdict: VerdictName, began: float
    ) -> None:
        """Report to the hooks that a message is settled; `began`: when that began, by the clock's `monotonic()`."""
        event = ("", "", None) if envelope is None else (envelope.id, envelope.type, envelope.trace)
        now = self._clock.monotonic()
        self._hooks(
            Settled(message.queue.name, verdict, now - message.held_since, now - began, *event, message.message_id)
        )

    def is_dropped(self, message: InFlightMessage, envelope: Envelope | None, reason: str) -> None:
        """Log that an event is deleted of which a handler should have run."""
        _log.warning("dropped %s: %s", message.queue.labeled(label_of(envelope)), reason, about=message.about(envelope))

    def has_expired(self, message: InFlightMessage, envelope: Envelope | None, late: float) -> None:
        """Count and report an event that is deleted, since it expired `late` seconds ago."""
        assert envelope is not None, "only an event that was opened has a time to expire"
        self.expired += 1
        if self._hooks:
            event = (envelope.id, envelope.type, envelope.owed)
            self._hooks(Expired(message.main_queue.name, *event, late, envelope.trace, message.message_id))

    def waits_in_place(self, message: InFlightMessage, envelope: Envelope | None, release: Release) -> None:
        """Count and log why a message of an ordered queue waits in its place."""
        if release.why == "kept":
            _log.error(
                "cannot handle %s, and %s has no dead-letter queue: it holds its group, and is tried again in %.3g s; "
                "give the queue a dead-letter queue: %s",
                label_of(envelope),
                message.queue.name,
                release.seconds,
                release.reason,
                about=message.about(envelope),
            )
        elif release.why == "unclaimed":
            self.unclaimed += 1
            _log.warning(
                "unclaimed: %s waits in %s for another node, and holds its group; it is received again in %.3g s: %s",
                label_of(envelope),
                message.queue.name,
                release.seconds,
                release.reason,
                about=message.about(envelope),
            )

    def copy_stored(self, message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> None:
        """Count, log and report to the hooks a copy that is stored."""
        about = message.about(envelope, copy.handler)
        what = label_of(envelope)
        if copy.why != "kept":  # that line names the queue anyway
            what = message.queue.labeled(what)
        if copy.handler is not None:
            what = f"{what} for {one_line(copy.handler)}"
        if copy.why == "dead":
            self.dead_letters += 1
            _log.error("dead-lettered %s: %s", what, copy.reason, about=about)
            self._letter_stored(message, copy, about)
        elif copy.why == "kept":
            _log.error(
                "cannot handle %s, and %s has no dead-letter queue: kept, and tried again in %.3g s; give the queue a "
                "dead-letter queue",
                what,
                message.queue.name,
                copy.delay,
                about=about,
            )
        elif copy.why == "unclaimed":
            self.unclaimed += 1
            _log.warning(
                "unclaimed: put %s back for another node; it is received again in %.3g s: %s",
                what,
                copy.delay,
                copy.reason,
                about=about,
            )
        if self._hooks:
            self._tell_hooks(message, envelope, copy)

    def _tell_hooks(self, message: InFlightMessage, envelope: Envelope | None, copy: Copy) -> None:
        event_id, event_type, trace = (
            ("", "", None) if envelope is None else (envelope.id, envelope.type, envelope.trace)
        )
        facts = (message.queue.name, event_id, event_type, copy.handler)
        if copy.why == "dead":
            self._hooks(DeadLettered(*facts, copy.reason or "", trace, message.message_id))
        else:
            self._hooks(Forwarded(*facts, copy.why, copy.delay, trace, message.message_id))


def label_of(envelope: Envelope | None) -> str:
    """Return a message as a log line shows it."""
    return "a message" if envelope is None else envelope.label
