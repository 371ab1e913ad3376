"""Mistakes that could be made in the rules or by those who carry them out, one each. All of them must be found."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from dawdle._rules.admission import Run, admit
from dawdle._rules.copies import Copy
from dawdle._rules.envelope import rewrite, to_rfc3339
from dawdle._rules.outcome import Done, Interrupted
from dawdle._rules.settlement import Ack, Forward, Settlement, settle
from tests.rules.model.scenarios import (
    CHAIN,
    DIRECT,
    EARLY,
    FAN_OUT,
    KILLS,
    NAMED,
    NAMED_DIRECT,
    OWED,
    REMEMBERED,
    ROLLING,
    UNDECODABLE,
    WANTED_BY_NONE,
)
from tests.rules.model.steps import DONE, Protocol
from tests.rules.model.truth import Rules, Scenario
from tests.rules.model.world import IDLE, NOW, Known, WorkerState


class Mutant(NamedTuple):
    name: str
    scenario: Scenario
    wrong: str
    """What the story says is wrong."""
    step: str
    """What it names among the steps that lead there."""
    rules: Rules = Rules()
    protocol: Protocol = Protocol()


class AckBeforeSend(Protocol):
    def begins(self, state: WorkerState) -> WorkerState:
        return state._replace(phase="acks") if state.phase == "sends" else state

    def after_ack(self, state: WorkerState) -> WorkerState:
        return state._replace(phase="sends") if state.unsent else IDLE

    def after_sends(self, state: WorkerState) -> WorkerState:
        return IDLE


class AckInDoubt(Protocol):
    """A send that has no answer counts as stored."""

    def after_sends(self, state: WorkerState) -> WorkerState:
        return WorkerState("acks")


class ForgetInDoubt(Protocol):
    """A message whose copies are in doubt is kept in flight for ever."""

    def after_sends(self, state: WorkerState) -> WorkerState:
        return WorkerState("sends") if state.doubtful else WorkerState("acks")


class RememberTooMuch(Protocol):
    """A message comes back since copies are in doubt, and is deleted since it was settled."""

    def known_after_sends(self, state: WorkerState) -> Known:
        return DONE


class DropDirectInDoubt(Protocol):
    """A direct event whose copies are in doubt is dropped."""

    def after_direct_sends(self, state: WorkerState) -> WorkerState:
        return IDLE


class ForgetWaiting(Protocol):
    """A stop does not see a direct event that waits for its slot."""

    def after_stop_of_waiting(self, taken: WorkerState) -> WorkerState:
        return IDLE


class KeptInDoubt(Protocol):
    """A copy that was sent early counts as stored, whatever the queue said."""

    def is_kept(self, answered: bool) -> bool:
        return True


class AckWhenLost(Protocol):
    """A worker that loses its lease deletes the message of the next holder."""

    def after_loss(self, state: WorkerState) -> WorkerState:
        return WorkerState("acks")


def copies_changed(decision: Run | Settlement, change: Callable[[Copy], Copy]) -> Run | Settlement:
    if not isinstance(decision, Forward):
        return decision
    return msgspec.structs.replace(decision, copies=tuple(map(change, decision.copies)))


def with_body(copy: Copy, **changes: object) -> Copy:
    return msgspec.structs.replace(copy, body=rewrite(copy.body, changes))


def admit_and_change(which: str, change: Callable[[Copy], Copy]) -> Rules:
    """The copies of one kind that admitting asks for, changed."""

    def mutated(*args, **kwargs):
        return copies_changed(admit(*args, **kwargs), lambda copy: change(copy) if copy.why == which else copy)

    return Rules(admit=mutated)


def settle_and_change(which: str, change: Callable[[Copy, int], Copy]) -> Rules:
    """The copies of one kind that settling asks for, changed; with the attempt of the original."""

    def mutated(body, envelope, results, **kwargs):
        def changed(copy: Copy) -> Copy:
            return change(copy, envelope.attempt) if copy.why == which else copy

        return copies_changed(settle(body, envelope, results, **kwargs), changed)

    return Rules(settle=mutated)


def ack_unclaimed(*args, **kwargs):
    decision = admit(*args, **kwargs)
    is_unclaimed = isinstance(decision, Forward) and decision.copies[0].why == "unclaimed"
    return Ack() if is_unclaimed else decision


def one_copy_for_all(*args, **kwargs):
    decision = settle(*args, **kwargs)
    return Forward(decision.copies[:1], decision.release_after) if isinstance(decision, Forward) else decision


def a_direct_event_is_released(*args, held=True, **kwargs):
    return settle(*args, held=True, **kwargs)


def one_kept_is_all_kept(body, envelope, results, **kwargs):
    if any(result.kept for result in results):
        return Ack()
    return settle(body, envelope, results, **kwargs)


def the_missing_are_forgotten(*args, missing=(), **kwargs):
    return settle(*args, **kwargs)


def the_missing_only_beside_a_failure(*args, missing=(), **kwargs):
    decision = settle(*args, **kwargs)
    return settle(*args, missing=missing, **kwargs) if isinstance(decision, Forward) else decision


def interrupted_is_done(body, envelope, results, **kwargs):
    finished = [
        msgspec.structs.replace(result, outcome=Done()) if isinstance(result.outcome, Interrupted) else result
        for result in results
    ]
    return settle(body, envelope, finished, **kwargs)


def last_attempt_is_never_made(body, envelope, results, **kwargs):
    fewer = [
        msgspec.structs.replace(
            result, retry=msgspec.structs.replace(result.retry, max_attempts=max(1, result.retry.max_attempts - 1))
        )
        for result in results
    ]
    return settle(body, envelope, fewer, **kwargs)


def a_hop_is_all(*args, now, **kwargs):
    return admit(*args, now=now + 900.0, **kwargs)


def given_up_at_once(*args, terms, **kwargs):
    return admit(*args, terms=msgspec.structs.replace(terms, unclaimed=0.0), **kwargs)


def never_tried(*args, receives, **kwargs):
    return admit(*args, **kwargs)


def given_up_a_trial_early(body, envelope, *args, receives, **kwargs):
    if envelope.trial == 2 and receives > 1:
        envelope = msgspec.structs.replace(envelope, trial=3)
    return admit(body, envelope, *args, receives=receives, **kwargs)


def ack_undecodable(*args, **kwargs):
    return Ack()


def wait_anew(copy: Copy) -> Copy:
    """Every hop begins to wait for the whole delay."""
    return with_body(copy, dawdledue=None, dawdledelay="2400000")


PLANTED = [
    Mutant("ack before send", FAN_OUT, "lost for b", "acks, and the message is deleted", protocol=AckBeforeSend()),
    Mutant("ack of the unclaimed", ROLLING, "lost for", "is to ack", rules=Rules(admit=ack_unclaimed)),
    Mutant(
        "one copy for all that failed",
        FAN_OUT,
        "lost for b",
        "has run a: failed, b: failed, and has 1 to send",
        rules=Rules(settle=one_copy_for_all),
    ),
]

OTHERS = [
    Mutant("a hop is acked before it is stored", CHAIN, "lost for a and b", "acks", protocol=AckBeforeSend()),
    Mutant("no answer counts as stored", FAN_OUT, "lost for", "which is lost, and is to ack", protocol=AckInDoubt()),
    Mutant("what is in doubt is kept in flight", FAN_OUT, "nothing that goes well", "lost", protocol=ForgetInDoubt()),
    Mutant("what is in doubt is remembered as done", REMEMBERED, "lost for", "releases", protocol=RememberTooMuch()),
    Mutant("a lost lease is acked", FAN_OUT, "lost for a and b", "loses its lease", protocol=AckWhenLost()),
    Mutant(
        "each hop waits anew",
        CHAIN,
        "it is due in 1500 s; the copy says in 2400 s",
        "receives the event for all",
        rules=admit_and_change("delayed", wait_anew),
    ),
    Mutant(
        "each hop is due at its end",
        CHAIN,
        "it is due in 1500 s; the copy says in 900 s",
        "receives the event for all",
        rules=admit_and_change("delayed", lambda copy: with_body(copy, dawdledue=to_rfc3339(NOW + copy.delay))),
    ),
    Mutant("the next hop is taken for over", CHAIN, "s early", "runs a and b", rules=Rules(admit=a_hop_is_all)),
    Mutant(
        "the unclaimed owe every handler",
        OWED,
        "a copy owes ['a', 'b'] of ['b']",
        "receives the event for b",
        rules=admit_and_change("unclaimed", lambda copy: with_body(copy, dawdleowed=None)),
    ),
    Mutant(
        "the unclaimed begin to wait anew",
        WANTED_BY_NONE,
        "nothing that goes well ends this, from the start",
        "",
        rules=admit_and_change("unclaimed", lambda copy: with_body(copy, dawdlesince=to_rfc3339(NOW))),
    ),
    Mutant(
        "given up at once", ROLLING, "given up after 0 trials and 0 s", "receives", rules=Rules(admit=given_up_at_once)
    ),
    Mutant(
        "what a node lacks is forgotten", NAMED, "lost for b", "acks", rules=Rules(settle=the_missing_are_forgotten)
    ),
    Mutant(
        "what a node lacks is forwarded only beside a failure",
        NAMED,
        "lost for b",
        "has run a: done, and is to ack",
        rules=Rules(settle=the_missing_only_beside_a_failure),
    ),
    Mutant(
        "what a node lacks is forgotten of a direct event",
        NAMED_DIRECT,
        "lost for b",
        "has run a: done",
        rules=Rules(settle=the_missing_are_forgotten),
    ),
    Mutant(
        "what a node lacks is owed to every handler",
        NAMED,
        "a copy owes ['a', 'b']",
        "runs a",
        rules=settle_and_change("missing", lambda copy, attempt: with_body(copy, dawdleowed=None)),
    ),
    Mutant("interrupted is done", FAN_OUT, "lost for", "interrupted", rules=Rules(settle=interrupted_is_done)),
    Mutant(
        "interrupted is an attempt",
        FAN_OUT,
        "it says attempt 2 after 0 failures",
        "interrupted",
        rules=settle_and_change("interrupted", lambda copy, attempt: with_body(copy, dawdleattempt=attempt + 1)),
    ),
    Mutant(
        "a failure is no attempt",
        FAN_OUT,
        "it says attempt 1 after 1 failures",
        "failed",
        rules=settle_and_change("retry", lambda copy, attempt: with_body(copy, dawdleattempt=attempt)),
    ),
    Mutant(
        "the last attempt is never made",
        FAN_OUT,
        "given up after 1 of 2 attempts",
        "failed",
        rules=Rules(settle=last_attempt_is_never_made),
    ),
    Mutant(
        "a direct event is released when it is interrupted",
        DIRECT,
        "lost for a and b",
        "is to release",
        rules=Rules(settle=a_direct_event_is_released),
    ),
    Mutant("a direct event in doubt is dropped", DIRECT, "lost for", "which is lost", protocol=DropDirectInDoubt()),
    Mutant(
        "a stop does not see what waits for its slot",
        DIRECT,
        "lost for a and b",
        "stopped before it starts",
        protocol=ForgetWaiting(),
    ),
    Mutant(
        "an early copy counts as stored, whatever the queue said",
        EARLY,
        "lost for",
        "its copy sent early is lost",
        protocol=KeptInDoubt(),
    ),
    Mutant(
        "one early copy stands for all",
        EARLY,
        "lost for",
        "its copy sent early is stored",
        rules=Rules(settle=one_kept_is_all_kept),
    ),
    Mutant("no trial is written", KILLS, "run as it is", "crashes", rules=Rules(admit=never_tried)),
    Mutant(
        "each trial is the first",
        KILLS._replace(receives=4),
        "it says trial 1 after 2",
        "crashes",
        rules=admit_and_change("trial", lambda copy: with_body(copy, dawdletrial=1)),
    ),
    Mutant(
        "the last trial is never made",
        KILLS._replace(receives=4),
        "given up after 2 trials",
        "crashes",
        rules=Rules(admit=given_up_a_trial_early),
    ),
    Mutant(
        "the undecodable is acked", UNDECODABLE, "lost for a and b", "ack", rules=Rules(undecodable=ack_undecodable)
    ),
]
