"""What goes wrong on the way to the simulated queue: which calls, by a seed, how, and what it happened to."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal, NamedTuple

from dawdle.errors import BackendError
from dawdle.testing import ManualClock

Operation = Literal["attributes", "send", "receive", "ack", "renew", "release"]

EVERY: Final[frozenset[Operation]] = frozenset({"attributes", "send", "receive", "ack", "renew", "release"})

LATENCY: Final = (0.002, 0.03)
"""Seconds from a node to the queue, and as many back: at least and at most."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What goes wrong, and how often: the share of calls, of entries in a batch, or of messages received."""

    lost: float = 0.0
    """Calls that are carried out and whose answer is lost."""

    slowly: float = 0.5
    """The part of those where nothing comes until the caller gives up; the others are cut at once."""

    unavailable: float = 0.0
    throttled: float = 0.0
    denied: float = 0.0
    missing: float = 0.0
    """Calls that are refused so, and not carried out."""

    silence: float = 0.0
    """Calls that get no answer, and are not carried out."""

    entries: float = 0.0
    """Entries of a batch that fail while the call succeeds."""

    twice: float = 0.0
    """Messages that are received and wait to be received all the same."""

    within: float = 0.5
    """The part of those that come again in the same answer, where there is room."""

    comes_back: float = 0.0
    """Messages that are deleted and wait again, up to `back_after` seconds later."""

    back_after: float = 60.0
    latency: tuple[float, float] = LATENCY
    slow: tuple[float, float] = (0.0, 0.0)
    """Seconds on top of that: on the way there, and on the way back."""

    only: frozenset[Operation] = EVERY


CALM: Final = Rates()


class Call(NamedTuple):
    """One call that is over: when it was made, and what came of it."""

    at: float
    node: int
    operation: Operation
    came_of_it: str


@dataclass
class Trouble:
    """What goes wrong now, and what did: by kind, and by the event that it happened to."""

    clock: ManualClock
    random: Random
    rates: Rates = CALM

    def __post_init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self.charged: Counter[int] = Counter()
        self.last: dict[int, float] = {}
        """By event: when something last happened to it."""

        self.calls: list[Call] = []
        self.silent: list[asyncio.Future[None]] = []
        self.hung: dict[int, float] = {}
        """By node: until when a call of its has hung, or hangs."""

    def speak(self) -> None:
        """Cut the connections that had no answer, as a server does that is started again."""
        for call in self.silent:
            if not call.done():
                call.set_exception(BackendError("the connection was reset"))
        self.silent.clear()

    def strikes(self, share: float) -> bool:
        """Return whether it happens this time."""
        return share > 0 and self.random.random() < share

    def instead(self, operation: Operation) -> str | None:
        """Return what a call gets instead of being carried out."""
        rates = self.rates
        if operation not in rates.only:
            return None
        roll = self.random.random()
        for name in ("unavailable", "throttled", "denied", "missing", "silence"):
            roll -= getattr(rates, name)
            if roll < 0:
                return name
        return None

    def charge(self, kind: str, numbers: Sequence[int]) -> None:
        """Note what happened, and to which events."""
        self.fired[kind] += 1
        self.charged.update(numbers)
        self.last.update(dict.fromkeys(numbers, self.clock.monotonic()))
