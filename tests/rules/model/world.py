"""What there is at one moment: messages, workers, and what became of each handler. Values that compare and hash.

Times are relative: a moment later, every timestamp in a body is a moment nearer. So a world that comes back to what it
was is known to have been visited, whatever the clock says. What is long over counts as just over.
"""

from functools import lru_cache
from typing import NamedTuple

from dawdle._rules.envelope import Envelope, open_envelope, rewrite, to_epoch, to_rfc3339
from dawdle.errors import EventError

NOW = 1_750_000_000.0
"""The queue's clock, at every moment."""

NOBODY = -1
MOST_REMEMBERED = 2**16
"""Answers that are kept, so that what is asked again and again is worked out once."""

UNCLAIMED = 2.0
"""Seconds, in all terms here. No rule cares how much longer an event has been unclaimed."""


class Truth(NamedTuple):
    """What is so, whatever the body says: of one copy, and of those that it descends from."""

    failures: int = 0
    due: float = 0.0
    """Seconds before which it must not run."""
    offered: float = -1.0
    """Seconds since the first worker had no handler for it; -1: none was asked in vain."""
    trials: int = 0
    """How often it was written that it will be tried alone."""


class Unsent(NamedTuple):
    body: bytes
    truth: Truth
    wait: float
    is_letter: bool


class Known(NamedTuple):
    """What a worker remembers of a message that it settled, should it come back: only what is left is done."""

    what: str = "nothing"
    unsent: tuple[Unsent, ...] = ()
    wait: float = 0.0


NOTHING = Known()


class Message(NamedTuple):
    body: bytes
    truth: Truth
    wait: float = 0.0
    """Seconds until it can be received, unless it is held."""
    age: float = 0.0
    """Seconds since it was stored, as far as a delay counts from there."""
    receives: int = 0
    holder: int = NOBODY
    stale: tuple[int, ...] = ()
    """Workers that lost the lease and go on."""
    known: tuple[Known, Known] = (NOTHING, NOTHING)
    """By worker."""

    def held_by(self, holder: int, receives: int) -> "Message":
        # `_replace` takes twice as long, and this is asked a million times.
        return Message(self.body, self.truth, self.wait, self.age, receives, holder, self.stale, self.known)

    def known_by(self, worker: int, known: Known) -> "Message":
        return self._replace(known=(known, self.known[1]) if worker == 0 else (self.known[0], known))


class Early(NamedTuple):
    """A handler that is to be tried again, and whose copy was sent while a sibling still runs."""

    name: str
    outcome: int
    """Which of the scenario's outcomes."""
    is_kept: bool
    """The queue has said that it stored the copy."""


class WorkerState(NamedTuple):
    phase: str = "idle"
    body: bytes = b""
    truth: Truth = Truth()
    handlers: tuple[str, ...] = ()
    is_isolated: bool = False
    """It is tried with nothing else in flight."""
    unsent: tuple[Unsent, ...] = ()
    doubtful: tuple[Unsent, ...] = ()
    """Copies that were not stored, or may not have been."""
    wait: float = 0.0
    """Seconds after which a released message comes back."""
    early: tuple[Early, ...] = ()
    """Handlers that have ended while another one still runs."""
    is_direct: bool = False
    """It is an event that no queue holds: what is not stored for it is lost with its worker."""
    missing: tuple[str, ...] = ()
    """Handlers that the type names and its worker lacks."""


IDLE = WorkerState()


class World(NamedTuple):
    messages: tuple[Message, ...]
    workers: tuple[WorkerState, WorkerState] = (IDLE, IDLE)
    over: frozenset[str] = frozenset()
    """Handlers that are done, or that a dead letter names."""

    def with_worker(self, worker: int, state: WorkerState) -> "World":
        workers = (state, self.workers[1]) if worker == 0 else (self.workers[0], state)
        return World(self.messages, workers, self.over)

    def claimed_by(self, worker: int) -> Message | None:
        """The message that a worker has, if it is still there."""
        for message in self.messages:
            if message.holder == worker or worker in message.stale:
                return message
        return None

    def forgotten_by(self, worker: int) -> "World":
        """The same, when a worker begins anew."""
        return self._replace(messages=tuple(message.known_by(worker, NOTHING) for message in self.messages))

    def instead(self, old: Message, *new: Message) -> "World":
        messages = list(self.messages)
        messages.remove(old)
        return World((*messages, *new), self.workers, self.over)

    def canonical(self, *, alike: bool) -> "World":
        """The one world that stands for all that differ in the order of messages, or in the names of workers."""
        straight = World(tuple(sorted(self.messages)), self.workers, self.over)
        if not alike or self.workers[0] < self.workers[1]:
            return straight
        messages = tuple(sorted(map(_swapped, self.messages)))
        if self.workers[0] == self.workers[1] and straight.messages <= messages:
            return straight
        return self._replace(messages=messages, workers=(self.workers[1], self.workers[0]))


def _swapped(message: Message) -> Message:
    known = (message.known[1], message.known[0])
    if message.holder == NOBODY and not message.stale:
        return message if known[0] == known[1] else message._replace(known=known)
    holder = message.holder if message.holder == NOBODY else 1 - message.holder
    return message._replace(holder=holder, stale=tuple(sorted(1 - worker for worker in message.stale)), known=known)


@lru_cache(maxsize=MOST_REMEMBERED)
def opened(body: bytes) -> Envelope | None:
    """The envelope of a body, for those who look on; None if it is no event."""
    try:
        return open_envelope(body)
    except EventError:
        return None


def later(world: World, elapsed: float) -> World:
    """The same world, so many seconds on."""
    return world._replace(
        messages=tuple(_message_later(message, elapsed) for message in world.messages),
        workers=tuple(_state_later(state, elapsed) for state in world.workers),
    )


@lru_cache(maxsize=MOST_REMEMBERED)
def _message_later(message: Message, elapsed: float) -> Message:
    envelope = opened(message.body)
    delay_ms = None if envelope is None else envelope.delay_ms
    return message._replace(
        body=_body_later(message.body, elapsed),
        truth=_truth_later(message.truth, elapsed),
        wait=max(0.0, message.wait - elapsed) if message.holder == NOBODY else 0.0,
        age=0.0 if delay_ms is None else min(message.age + elapsed, int(delay_ms) / 1000),
        known=tuple(_known_later(known, elapsed) for known in message.known),
    )


def _known_later(known: Known, elapsed: float) -> Known:
    if not known.unsent:
        return known
    unsent = (copy._replace(wait=max(0.0, copy.wait - elapsed)) for copy in _unsent_later(known.unsent, elapsed))
    return known._replace(unsent=tuple(unsent))


@lru_cache(maxsize=MOST_REMEMBERED)
def _state_later(state: WorkerState, elapsed: float) -> WorkerState:
    if state.phase == "idle":
        return state
    return state._replace(
        body=_body_later(state.body, elapsed),
        truth=_truth_later(state.truth, elapsed),
        unsent=_unsent_later(state.unsent, elapsed),
        doubtful=_unsent_later(state.doubtful, elapsed),
    )


def _unsent_later(unsent: tuple[Unsent, ...], elapsed: float) -> tuple[Unsent, ...]:
    return tuple(
        copy._replace(body=_body_later(copy.body, elapsed), truth=_truth_later(copy.truth, elapsed)) for copy in unsent
    )


def _truth_later(truth: Truth, elapsed: float) -> Truth:
    offered = truth.offered if truth.offered < 0 else min(truth.offered + elapsed, UNCLAIMED)
    return Truth(truth.failures, max(0.0, truth.due - elapsed), offered, truth.trials)


def _body_later(body: bytes, elapsed: float) -> bytes:
    envelope = opened(body)
    if envelope is None or (envelope.due is None and envelope.since is None):
        return body
    changes: dict[str, object] = {}
    if envelope.due is not None:
        changes["dawdledue"] = to_rfc3339(max(to_epoch(envelope.due) - elapsed, NOW))
    if envelope.since is not None:
        changes["dawdlesince"] = to_rfc3339(max(to_epoch(envelope.since) - elapsed, NOW - UNCLAIMED))
    return rewrite(body, changes)
