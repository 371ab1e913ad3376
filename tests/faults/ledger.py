"""What was signaled, what ran, what came to an end: the books of one run, and the reckoning over them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from dawdle.testing.sqs._message import Message
from tests.faults.simulation import number_in

Pair = tuple[int, str]
"""The number of an event, and the name of a handler."""


@dataclass(frozen=True)
class Deed:
    """What a handler makes of one event, whichever node it runs on."""

    fails: int = 0
    """Attempts that fail before one succeeds; as many as there are attempts: it is dead-lettered."""

    seconds: float = 0.0


GOOD = Deed()


def moody(seed: int, longest: float = 0.0) -> Callable[[int, str], Deed]:
    """Return a plan by which most handlers succeed, some fail once or twice, and a few for good."""

    def plan(number: int, handler: str) -> Deed:
        random = Random(f"{seed}:{number}:{handler}")
        fails = random.choices((0, 1, 2, 3), (80, 12, 4, 4))[0]
        return Deed(fails, random.random() * longest if longest and random.random() < 0.5 else 0.0)

    return plan


@dataclass
class Ledger:
    """The books. A run is one call of one handler for one attempt at one event."""

    handlers: tuple[str, ...]
    signaled: set[int] = field(default_factory=set)
    runs: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    by_node: dict[tuple[int, str, int], list[int]] = field(default_factory=dict)
    started: dict[Pair, float] = field(default_factory=dict)
    """When each pair ran first, in epoch seconds by the queue's clock."""

    done: set[Pair] = field(default_factory=set)
    ended: list[float] = field(default_factory=list)
    """When each run that succeeded did so, by the monotonic clock."""

    def start(self, node: int, number: int, handler: str, attempt: int, at: float) -> None:
        """Note that a handler was called."""
        run = (number, handler, attempt)
        self.runs[run] += 1
        self.by_node.setdefault(run, []).append(node)
        self.started.setdefault((number, handler), at)

    def finish(self, number: int, handler: str, at: float) -> None:
        """Note that a handler returned."""
        self.done.add((number, handler))
        self.ended.append(at)

    def dead(self, letters: Iterable[Message]) -> set[Pair]:
        """Return what was given up: a letter that names no handler gives up the event for all of them."""
        found: set[Pair] = set()
        for letter in letters:
            owed = json.loads(letter.body).get("dawdleowed")
            found |= {(number_in(letter.body), handler) for handler in ([owed] if owed else self.handlers)}
        return found

    def lost(self, letters: Iterable[Message]) -> set[Pair]:
        """Return what was signaled, and neither done nor dead-lettered."""
        wanted = {(number, handler) for number in self.signaled for handler in self.handlers}
        return wanted - self.done - self.dead(letters)

    def extra(self) -> dict[tuple[int, str, int], int]:
        """Return the runs beyond the first, where there were any."""
        return {run: count - 1 for run, count in self.runs.items() if count > 1}
