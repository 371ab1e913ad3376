"""A message that ends every process which runs it: tried alone, a few times, and given up. Values in, values out.

    received for the 5th time ── a copy with trial 1 ──► received ── runs alone ──► an outcome: all is as ever
                                                           │ again: nobody lived to say what came of it
                                                           ├──► a copy with trial + 1, and so on
                                                           └──► after trial 3: a dead letter

The receive count alone condemns nobody: stops and releases raise it too. A trial is written before it is run, so what
counts is only what was received, alone, and never heard of again.

A stranger can write `dawdletrial` as well, and no node can tell. So a trial only ever costs its own event something: it
runs alone for a while at most (`_flow.alone`), and waits in the queue for that, less and less often.
"""

from typing import Final

from dawdle._rules.envelope import Envelope, seconds
from dawdle._rules.letter import copy_of
from dawdle._rules.settlement import Forward, Terms

__all__ = [
    "SOON",
    "SUSPECT_FROM",
    "TRIALS",
    "is_suspect",
    "next_trial",
    "put_off",
    "trial_of",
]

SUSPECT_FROM: Final = 5
"""Receives of one copy, from which on it is tried alone."""

TRIALS: Final = 3
"""Trials without an outcome, after which a message is given up."""

SOON: Final = 2.0
"""Seconds after which a trial comes again, more or less, while room is made for it."""

MAX_PUT_OFF_SECONDS: Final = 300.0
"""A trial that finds no room comes back at least this often. How soon, its age says; this does where that is not known,
or its time lies in the future."""


def trial_of(envelope: Envelope) -> int:
    """Return which trial a message is, 0 for none. A number that no node writes is none: it condemns nothing."""
    return envelope.trial if envelope.trial <= TRIALS else 0


def is_suspect(envelope: Envelope, receives: int) -> bool:
    """Whether a message must not be run as it is: it came often, or it is a trial that nobody lived through."""
    return receives >= (2 if trial_of(envelope) else SUSPECT_FROM)


def next_trial(body: bytes, envelope: Envelope, now: float, terms: Terms) -> Forward:
    """Return the copy that is the next trial; the message itself is acked before anything is run."""
    trial = trial_of(envelope) + 1
    copy = copy_of(body, 0.0, now, terms, why="trial", handler=envelope.owed, changes={"dawdletrial": trial})
    return Forward((copy,), otherwise=10.0)


def put_off(
    body: bytes, envelope: Envelope, now: float, terms: Terms, *, stopping: bool, soon: bool, roll: float
) -> Forward:
    """Return the same trial again, for later: something else was in hand. It is not counted.

    `soon`: room is being made for it. `roll` in [0, 1) scatters those that came together.
    """
    delay = SOON * (0.5 + roll) if soon else _put_off_for(envelope, now) * (1.0 - roll / 2)
    delay = 0.0 if stopping else delay
    changes = {"dawdletrial": envelope.trial}
    copy = copy_of(body, delay, now, terms, why="trial", handler=envelope.owed, changes=changes)
    return Forward((copy,), otherwise=max(1.0, delay))


def _put_off_for(envelope: Envelope, now: float) -> float:
    age = -1.0 if envelope.time is None else now - seconds(envelope.time)
    return MAX_PUT_OFF_SECONDS if age < 0 else min(max(1.0, age), MAX_PUT_OFF_SECONDS)
