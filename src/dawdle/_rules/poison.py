"""A message that ends every process which runs it: tried alone, a few times, and given up. Values in, values out.

    received for the 5th time ── a copy with trial 1 ──► received ── runs alone ──► an outcome: all is as ever
                                                           │ again: nobody lived to say what came of it
                                                           ├──► a copy with trial + 1, and so on
                                                           └──► after trial 3: a dead letter

The receive count alone condemns nobody: stops and releases raise it too. A trial is written before it is run, so what
counts is only what was received, alone, and never heard of again.

A stranger can write `dawdletrial` as well, and no node can tell. So a trial only ever costs its own event something: it
runs alone for a while at most (`_flow.isolation`), and waits in the queue for that, less and less often.
"""

from typing import Final

from dawdle._rules.copies import copy_of
from dawdle._rules.envelope import Envelope, to_epoch
from dawdle._rules.settlement import Forward
from dawdle._rules.terms import Terms

__all__ = [
    "MAX_TRIALS",
    "RETRY_SOON_SECONDS",
    "SUSPECT_RECEIVES",
    "is_suspect",
    "next_trial",
    "put_off",
    "trial_of",
]

SUSPECT_RECEIVES: Final = 5
"""Receives of one copy, from which on it is tried alone."""

MAX_TRIALS: Final = 3
"""Trials without an outcome, after which a message is given up."""

RETRY_SOON_SECONDS: Final = 2.0
"""Seconds after which a trial comes again, more or less, while room is made for it."""

MAX_PUT_OFF_SECONDS: Final = 300.0
"""A trial that finds no room comes back at least this often. How soon, its age says; this does where that is not known,
or its time lies in the future."""


def trial_of(envelope: Envelope) -> int:
    """Return which trial a message is, 0 for none. A number that no node writes is none: it condemns nothing."""
    return envelope.trial if envelope.trial <= MAX_TRIALS else 0


def is_suspect(envelope: Envelope, receives: int) -> bool:
    """Whether a message must not be run as it is: it came often, or it is a trial that nobody lived through."""
    return receives >= (2 if trial_of(envelope) else SUSPECT_RECEIVES)


def next_trial(body: bytes, envelope: Envelope, now: float, terms: Terms) -> Forward:
    """Return the copy that is the next trial; the message itself is acked before anything is run."""
    trial = trial_of(envelope) + 1
    copy = copy_of(body, 0.0, now, terms, why="trial", handler=envelope.owed, changes={"dawdletrial": trial})
    return Forward((copy,), release_after=10.0)


def put_off(
    body: bytes, envelope: Envelope, now: float, terms: Terms, *, stopping: bool, soon: bool, random: float
) -> Forward:
    """Return the same trial again, for later: something else was in hand. It is not counted.

    `soon`: room is being made for it. `roll` in [0, 1) scatters those that came together.
    """
    delay = RETRY_SOON_SECONDS * (0.5 + random) if soon else _put_off_seconds(envelope, now) * (1.0 - random / 2)
    delay = 0.0 if stopping else delay
    changes = {"dawdletrial": envelope.trial}
    copy = copy_of(body, delay, now, terms, why="trial", handler=envelope.owed, changes=changes)
    return Forward((copy,), release_after=max(1.0, delay))


def _put_off_seconds(envelope: Envelope, now: float) -> float:
    age = -1.0 if envelope.time is None else now - to_epoch(envelope.time)
    return MAX_PUT_OFF_SECONDS if age < 0 else min(max(1.0, age), MAX_PUT_OFF_SECONDS)
