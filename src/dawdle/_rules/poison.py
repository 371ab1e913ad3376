"""Decides about suspected poison messages: run in isolation, a few times, then dead-letter. Values in, values out.

    received for the 5th time ── a copy with trial 1 ──► received ── runs in isolation ──► an outcome: settled as ever
                                                           │ received again: its process ended before the outcome
                                                           ├──► a copy with trial + 1, and so on
                                                           └──► after trial 3: a dead letter

The receive count alone proves nothing: stops and releases raise it too. A trial is stored before it runs. So only a
message counts that ran in isolation, and whose process never reported an outcome.

A stranger can write `dawdletrial` too, and no node can tell the difference. So a trial costs only its own event: it
runs in isolation for a limited time (`_flow.isolation`), and waits in the queue for that, less and less often.
"""

from typing import Final

from dawdle._rules.copies import copy_of
from dawdle._rules.envelope import Envelope, to_epoch
from dawdle._rules.settlement import Forward
from dawdle._rules.terms import Terms

__all__ = [
    "MAX_PUT_OFF_SECONDS",
    "MAX_TRIALS",
    "RETRY_SOON_SECONDS",
    "SUSPECT_RECEIVES",
    "is_suspect",
    "next_trial",
    "put_off",
    "trial_of",
]

SUSPECT_RECEIVES: Final = 5
"""Receives of one copy from which on it is a suspect."""

MAX_TRIALS: Final = 3
"""Trials without an outcome after which a message is dead-lettered."""

RETRY_SOON_SECONDS: Final = 2.0
"""Seconds, about, after which a trial comes again while other messages make room for it."""

MAX_PUT_OFF_SECONDS: Final = 300.0
"""Seconds of the longest wait of a trial that finds no room. Its age is its wait; without a known age it is this."""


def trial_of(envelope: Envelope) -> int:
    """Return which trial a message is, 0 for none. A number that no node writes counts as none."""
    return envelope.trial if envelope.trial <= MAX_TRIALS else 0


def is_suspect(envelope: Envelope, receives: int) -> bool:
    """Whether a message must not run now: it was received often, or it is a trial that was received before."""
    # A trial that is received a second time had its first receive in a process that ended without an outcome.
    return receives >= (2 if trial_of(envelope) else SUSPECT_RECEIVES)


def next_trial(body: bytes, envelope: Envelope, now: float, terms: Terms) -> Forward:
    """Return the copy that is the next trial. The message itself is acked before any handler runs."""
    trial = trial_of(envelope) + 1
    copy = copy_of(body, 0.0, now, terms, why="trial", handler=envelope.owed, changes={"dawdletrial": trial})
    return Forward((copy,), release_after=10.0)


def put_off(
    body: bytes, envelope: Envelope, now: float, terms: Terms, *, stopping: bool, soon: bool, random: float
) -> Forward:
    """Return the same trial for later, uncounted, since other messages are in flight.

    `soon`: they are making room for it. `random` in [0, 1) scatters trials that came together.
    """
    # A copy and no release: a release would raise the receive count, which counts as a trial without an outcome.
    delay = RETRY_SOON_SECONDS * (0.5 + random) if soon else _put_off_seconds(envelope, now) * (1.0 - random / 2)
    delay = 0.0 if stopping else delay
    changes = {"dawdletrial": envelope.trial}
    copy = copy_of(body, delay, now, terms, why="trial", handler=envelope.owed, changes=changes)
    return Forward((copy,), release_after=max(1.0, delay))


def _put_off_seconds(envelope: Envelope, now: float) -> float:
    age = -1.0 if envelope.time is None else now - to_epoch(envelope.time)
    return MAX_PUT_OFF_SECONDS if age < 0 else min(max(1.0, age), MAX_PUT_OFF_SECONDS)
