"""Asks the rules, once for each question, and compares what they answer with what is true.

The rules see bodies only. What is true of a message is counted beside them, from what happened: how often its handler
failed, when it may run, since when no node wants it. A rule that says otherwise is reported where it says so.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

from dawdle import JSON, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.admission import Run, admit
from dawdle._rules.codec import open_event
from dawdle._rules.copies import Copy
from dawdle._rules.dead_lettering import UNDECODABLE, undecodable, unreadable
from dawdle._rules.envelope import open_envelope, to_epoch
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Outcome, Postponed, Rejected
from dawdle._rules.poison import MAX_TRIALS, SUSPECT_RECEIVES, put_off
from dawdle._rules.settlement import Ack, Forward, Release, Result, Settlement, copy_for, settle
from dawdle._rules.terms import Terms
from dawdle.errors import EventError
from tests.rules.model.world import NOW, Early, Truth, Unsent, WorkerState, opened

CODECS = {JSON.content_type: JSON()}
SLACK = 0.0011
"""Seconds. A timestamp is rounded up to the millisecond."""

HARMLESS = (Done, Interrupted)
"""Outcomes that cost no fault of their own. A stop costs one, however many handlers it interrupts."""


class Rules(NamedTuple):
    """What is under check; a mutant takes another for one of these."""

    admit: Callable[..., Run | Settlement] = admit
    settle: Callable[..., Settlement] = settle
    copy_for: Callable[..., Copy] = copy_for
    undecodable: Callable[..., Settlement] = undecodable
    unreadable: Callable[..., Settlement] = unreadable


class Scenario(NamedTuple):
    """One event, those who handle it, and what may happen."""

    name: str
    body: bytes
    lookups: tuple[AppHandlers, AppHandlers]
    """One for each worker."""
    terms: Terms
    faults: int
    outcomes: tuple[Outcome, ...]
    truth: Truth = Truth()
    over: frozenset[str] = frozenset()
    """Handlers that were through with it before."""
    wait: float = 0.0
    lapses: tuple[float, ...] = (0.0,)
    """Seconds after which a message comes back whose lease is not renewed any more."""
    is_poison: bool = False
    """No node can ever read it."""
    ends: bool = True
    """Without further faults, nothing is left in the queue in the end."""
    counts_receives: bool = False
    """Receives make a difference to `admit`, which gets them."""
    receives: int = 0
    """How often the message was received before."""
    stores_early: bool = False
    """The copy of a handler that failed may be sent while a sibling still runs."""
    is_direct: bool = False
    """It begins at the first worker, past the queue."""
    remembers: bool = False
    """A worker knows again what it has settled. It need not: it remembers a number of messages, and no more."""

    is_named: bool = False
    """The type of the event names all handlers: one that a node lacks must have the event from another node."""

    @property
    def are_alike(self) -> bool:
        return self.lookups[0] is self.lookups[1]

    @property
    def handlers(self) -> dict[str, Retry]:
        found = {handler.name: handler.options.retry for lookup in self.lookups for handler in lookup.handlers}
        assert all(found.values()), "each handler here says how it is retried"
        return found


class Taken(NamedTuple):
    """What a worker has after a decision, and what is wrong with that."""

    state: WorkerState
    complaint: str | None = None


@dataclass(frozen=True, eq=False)
class Ending:
    """One way in which the handlers of one message may end. Each is made once, and is equal to itself alone."""

    outcomes: tuple[tuple[str, Outcome], ...]
    faults: int
    kept: frozenset[str] = frozenset()
    """Handlers whose copy is stored already."""

    @cached_property
    def done(self) -> frozenset[str]:
        return frozenset(name for name, outcome in self.outcomes if isinstance(outcome, Done))

    @cached_property
    def is_interrupted(self) -> bool:
        return all(isinstance(outcome, Interrupted) for _, outcome in self.outcomes)

    @cached_property
    def text(self) -> str:
        return ", ".join(f"{name}: {type(outcome).__name__.lower()}" for name, outcome in self.outcomes)


class Truths:
    """The rules of one scenario, asked once for each question."""

    def __init__(self, scenario: Scenario, rules: Rules) -> None:
        self._scenario = scenario
        self._rules = rules
        self._retries = scenario.handlers
        self._taken: dict[tuple[object, ...], Taken] = {}
        self._settled: dict[tuple[object, ...], Taken] = {}
        self._endings: dict[tuple[tuple[str, ...], tuple[Early, ...]], list[Ending]] = {}
        self._interrupted: dict[tuple[str, ...], Ending] = {}
        self._owed: dict[bytes, frozenset[str]] = {}
        self._miscounted: dict[tuple[bytes, Truth], str | None] = {}

    def take(self, worker: int, body: bytes, truth: Truth, age: float, receives: int) -> Taken:
        """What a worker does with a message that it received: runs handlers, or begins to settle."""
        key = (not self._scenario.are_alike and worker, body, truth, age, receives)
        found = self._taken.get(key)
        if found is None:
            found = self._taken[key] = self._take(self._scenario.lookups[worker], body, truth, age, receives)
        return found

    def settle(self, state: WorkerState, ending: Ending) -> Taken:
        """What a worker does with a message whose handlers ended so; `ending` is one of `endings` or `interrupted`."""
        key = (state.body, state.truth, ending, state.is_direct)
        found = self._settled.get(key)
        if found is None:
            found = self._settled[key] = self._settle(state, ending)
        return found

    def endings(self, state: WorkerState) -> list[Ending]:
        """Every way in which the handlers that still run may end."""
        key = (state.handlers, state.early)
        if key not in self._endings:
            ended = {early.name for early in state.early}
            running = tuple(name for name in state.handlers if name not in ended)
            before = tuple((early.name, self._scenario.outcomes[early.outcome]) for early in state.early)
            kept = frozenset(early.name for early in state.early if early.is_kept)
            self._endings[key] = [
                Ending((*before, *ending.outcomes), ending.faults, kept)
                for ending in _endings(running, self._scenario.outcomes)
            ]
        return self._endings[key]

    def interrupted(self, names: tuple[str, ...]) -> Ending:
        """The ending in which all these handlers are interrupted."""
        if names not in self._interrupted:
            self._interrupted[names] = Ending(tuple((name, Interrupted()) for name in names), 1)
        return self._interrupted[names]

    def early(self, state: WorkerState, name: str, outcome: Outcome) -> tuple[Unsent, str | None]:
        """The copy of one handler that has ended so while others run, and what is wrong with it."""
        result = Result(name, self._retries[name], outcome, ended=NOW)
        copy = self._rules.copy_for(
            state.body, result, NOW, self._scenario.terms, _unlucky, attempt=open_envelope(state.body).attempt
        )
        true, complaint = self._after(name, state.truth, outcome, copy)
        return Unsent(copy.body, true, copy.delay, copy.is_letter), complaint or _mistimed(copy, true)

    def owed_by(self, body: bytes) -> frozenset[str]:
        """The handlers that a message keeps, or a letter names."""
        if body not in self._owed:
            self._owed[body] = self._owed_by(body)
        return self._owed[body]

    def miscounts(self, body: bytes, truth: Truth) -> str | None:
        """Say what a message in the queue says of its attempts that is not so."""
        key = (body, truth)
        if key not in self._miscounted:
            self._miscounted[key] = self._miscounts(body, truth)
        return self._miscounted[key]

    def _owed_by(self, body: bytes) -> frozenset[str]:
        envelope = opened(body)
        if envelope is None or envelope.type == UNDECODABLE or envelope.owed is None:
            return frozenset(self._retries)
        found = (lookup.handler_named(envelope.owed) for lookup in self._scenario.lookups)
        return frozenset(handler.name for handler in found if handler is not None)

    def _miscounts(self, body: bytes, truth: Truth) -> str | None:
        envelope = opened(body)
        if envelope is None:
            return None
        if envelope.trial != truth.trials:
            return f"it says trial {envelope.trial} after {truth.trials} that were written"
        last = 1 if envelope.owed is None else max(self._retries[name].max_attempts for name in self.owed_by(body))
        if envelope.attempt == min(truth.failures + 1, last):
            return None
        return f"it says attempt {envelope.attempt} after {truth.failures} failures"

    def _take(self, lookup: AppHandlers, body: bytes, truth: Truth, age: float, receives: int) -> Taken:
        terms = self._scenario.terms
        try:
            envelope = open_envelope(body)
        except EventError as error:
            return self._unrun(body, truth, self._rules.undecodable(body, "key", str(error), NOW, terms))
        counted = {"receives": receives} if self._scenario.counts_receives else {}
        admitted = self._rules.admit(
            body, envelope, lookup, CODECS, stored_at=NOW - age, now=NOW, terms=terms, random=_unlucky, **counted
        )
        if not isinstance(admitted, Run):
            return self._unrun(body, truth, admitted)
        complaint = f"it runs {truth.due:g} s early" if truth.due > SLACK else None
        if receives >= SUSPECT_RECEIVES:
            complaint = f"it is run as it is at its receive number {receives}"
        try:
            open_event(envelope, admitted.event_type, CODECS)
        except EventError as error:
            return self._unrun(body, truth, self._rules.unreadable(body, envelope, str(error), NOW, terms))
        names = tuple(handler.name for handler in admitted.handlers)
        return Taken(WorkerState("runs", body, truth, names, admitted.isolated, missing=admitted.missing), complaint)

    def _unrun(self, body: bytes, truth: Truth, settlement: Settlement) -> Taken:
        """Settle a message without having run anything."""

        def truth_of(copy: Copy) -> tuple[Truth, str | None]:
            if self.owed_by(copy.body) != self.owed_by(body):
                return truth, f"a copy owes {sorted(self.owed_by(copy.body))} of {sorted(self.owed_by(body))}"
            if copy.why not in ("unclaimed", "missing", "dead", "kept") or self._scenario.is_poison:
                return truth._replace(trials=truth.trials + (copy.why == "trial")), None
            if copy.is_letter and truth.trials >= MAX_TRIALS:
                return truth, None
            offered = max(truth.offered, 0.0)
            early = copy.is_letter and offered < self._scenario.terms.unclaimed - SLACK
            how = f"{truth.trials} trials and {offered:g} s without a taker"
            complaint = f"it is given up after {how}" if early else None
            return Truth(truth.failures, 0.0, offered), complaint

        return _begun(settlement, truth_of)

    def put_off(self, state: WorkerState) -> Taken:
        """What a worker does with a trial that it never had in isolation."""
        terms = self._scenario.terms
        settlement = put_off(state.body, open_envelope(state.body), NOW, terms, stopping=False, soon=False, random=0.0)
        return _begun(settlement, lambda copy: (state.truth, None))

    def _settle(self, state: WorkerState, ending: Ending) -> Taken:
        results = [
            Result(name, self._retries[name], outcome, ended=NOW, kept=name in ending.kept)
            for name, outcome in ending.outcomes
        ]
        held = {} if not state.is_direct else {"held": False}
        settlement = self._rules.settle(
            state.body,
            open_envelope(state.body),
            results,
            attempt=open_envelope(state.body).attempt,
            now=NOW,
            terms=self._scenario.terms,
            random=_unlucky,
            missing=state.missing,
            **held,
        )
        outcomes = dict(ending.outcomes)

        def truth_of(copy: Copy) -> tuple[Truth, str | None]:
            owed = sorted(self.owed_by(copy.body))
            name = owed[0] if len(owed) == 1 else None
            if name in state.missing:
                return Truth(), None
            if name is None or name not in outcomes:
                return state.truth, f"a copy owes {owed}, and those that ran are {sorted(outcomes)}"
            return self._after(name, state.truth, outcomes[name], copy)

        taken = _begun(settlement, truth_of)
        return taken._replace(state=taken.state._replace(is_direct=state.is_direct))

    def _after(self, name: str, truth: Truth, outcome: Outcome, copy: Copy) -> tuple[Truth, str | None]:
        """What is true of a copy for one handler, after that outcome."""
        retry, failures, due = self._retries[name], truth.failures, 0.0
        may_die = isinstance(outcome, Rejected)
        match outcome:
            case Failed():
                failures += 1
                may_die = failures >= retry.max_attempts
                due = 0.0 if may_die else retry.backoff(failures, 0.0)
            case Postponed() | AtLimit():
                due = outcome.seconds
            case _:
                pass
        early = copy.is_letter and not may_die
        complaint = f"{name} is given up after {failures} of {retry.max_attempts} attempts" if early else None
        return Truth(min(failures, retry.max_attempts - 1), due), complaint


def _unlucky() -> float:
    """No jitter: every wait is the longest."""
    return 0.0


def _endings(names: tuple[str, ...], outcomes: tuple[Outcome, ...]) -> Iterator[Ending]:
    for each in product(outcomes, repeat=len(names)):
        own = sum(not isinstance(outcome, HARMLESS) for outcome in each)
        stops = any(isinstance(outcome, Interrupted) for outcome in each)
        yield Ending(tuple(zip(names, each, strict=True)), own + stops)


def _begun(settlement: Settlement, truth_of: Callable[[Copy], tuple[Truth, str | None]]) -> Taken:
    """The state of a worker that begins to carry a settlement out."""
    match settlement:
        case Ack():
            return Taken(WorkerState("acks"))
        case Release():
            return Taken(WorkerState("releases", wait=settlement.seconds))
        case Forward():
            unsent, complaints = [], []
            for copy in settlement.copies:
                true, complaint = truth_of(copy)
                unsent.append(Unsent(copy.body, true, copy.delay, copy.is_letter))
                complaints += [each for each in (complaint, _mistimed(copy, true)) if each is not None]
            state = WorkerState("sends", unsent=tuple(sorted(unsent)), wait=settlement.release_after)
            return Taken(state, "; ".join(complaints) or None)


def _mistimed(copy: Copy, truth: Truth) -> str | None:
    """Say what a copy says of when it runs that is not so."""
    envelope = opened(copy.body)
    if envelope is None or truth.due <= 0:
        return None
    says = copy.delay
    if envelope.due is not None:
        says = to_epoch(envelope.due) - NOW
    elif envelope.delay_ms is not None:
        says = int(envelope.delay_ms) / 1000
    if abs(says - truth.due) <= SLACK and copy.delay <= truth.due + SLACK:
        return None
    return f"it is due in {truth.due:g} s; the copy says in {says:g} s, and sleeps for {copy.delay:g} s"
