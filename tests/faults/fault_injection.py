"""Fault injection between nodes and the simulated SQS: which calls fail, how, and for which events."""

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
class FaultRates:
    """How often each fault happens: the share of calls, of entries in a batch, or of received messages."""

    lost: float = 0.0
    """Calls that run and whose response is lost."""

    slowly: float = 0.5
    """The share of those without a response until the caller times out; the others are reset at once."""

    unavailable: float = 0.0
    throttled: float = 0.0
    denied: float = 0.0
    missing: float = 0.0
    """Calls that fail with this error, and do not run."""

    silence: float = 0.0
    """Calls that get no response, and do not run."""

    entries: float = 0.0
    """Entries of a batch that fail in a call that succeeds."""

    twice: float = 0.0
    """Messages that are received, and are visible to other receives all the same."""

    within: float = 0.5
    """The share of those that come twice in the same response, if there is room."""

    comes_back: float = 0.0
    """Messages that are deleted, and are visible again up to `back_after` seconds later."""

    back_after: float = 60.0
    latency: tuple[float, float] = LATENCY
    slow: tuple[float, float] = (0.0, 0.0)
    """Extra seconds: on the way there, and on the way back."""

    only: frozenset[Operation] = EVERY


NO_FAULTS: Final = FaultRates()


class Call(NamedTuple):
    """One call that is over: when it began, and its result."""

    at: float
    node: int
    operation: Operation
    result: str


@dataclass
class FaultInjector:
    """Decides by a seed which calls fail, and counts faults by name and by the event that they happened to."""

    clock: ManualClock
    random: Random
    rates: FaultRates = NO_FAULTS

    def __post_init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self.faults_of_event: Counter[int] = Counter()
        self.last_fault_at: dict[int, float] = {}
        """By event: when the last fault happened to it."""

        self.calls: list[Call] = []
        self.hung_calls: list[asyncio.Future[None]] = []
        self.hung_until: dict[int, float] = {}
        """By node: until when one of its calls hangs, or hung."""

    def reset_hung_calls(self) -> None:
        """Reset the connections of calls that hang, as the restart of a server does."""
        for call in self.hung_calls:
            if not call.done():
                call.set_exception(BackendError("the connection was reset"))
        self.hung_calls.clear()

    def happens(self, share: float) -> bool:
        """Return whether a fault with this share happens this time."""
        return share > 0 and self.random.random() < share

    def failure_of_call(self, operation: Operation) -> str | None:
        """Return the fault by which a call fails without being run; None: it runs."""
        rates = self.rates
        if operation not in rates.only:
            return None
        random = self.random.random()
        for name in ("unavailable", "throttled", "denied", "missing", "silence"):
            random -= getattr(rates, name)
            if random < 0:
                return name
        return None

    def record(self, fault: str, numbers: Sequence[int]) -> None:
        """Count a fault, and the events that it happened to."""
        self.fired[fault] += 1
        self.faults_of_event.update(numbers)
        self.last_fault_at.update(dict.fromkeys(numbers, self.clock.monotonic()))
