"""A record of what was signaled, what ran and what finished, and what follows from it: lost events, extra runs."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from dawdle.testing.sqs._message import Message
from tests.faults.simulated_sqs import number_in

Pair = tuple[int, str]
"""The number of an event, and the name of a handler."""


@dataclass(frozen=True)
class Behaviour:
    """How a handler behaves on one event, whichever node it runs on."""

    fails: int = 0
    """Attempts that fail before one succeeds. With as many as `max_attempts` the event is dead-lettered."""

    seconds: float = 0.0


SUCCEEDS = Behaviour()


def random_behaviour(seed: int, longest: float = 0.0) -> Callable[[int, str], Behaviour]:
    """Return a plan by which most handlers succeed, some fail once or twice, and a few fail always."""

    def plan(number: int, handler: str) -> Behaviour:
        random = Random(f"{seed}:{number}:{handler}")
        fails = random.choices((0, 1, 2, 3), (80, 12, 4, 4))[0]
        return Behaviour(fails, random.random() * longest if longest and random.random() < 0.5 else 0.0)

    return plan


@dataclass
class RunRecord:
    """What happened. A run is one call of one handler, for one attempt at one event."""

    handlers: tuple[str, ...]
    signaled: set[int] = field(default_factory=set)
    runs: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    by_node: dict[tuple[int, str, int], list[int]] = field(default_factory=dict)
    first_started: dict[Pair, float] = field(default_factory=dict)
    """When each pair ran first, in epoch seconds by the queue's clock."""

    finished: set[Pair] = field(default_factory=set)
    finished_at: list[float] = field(default_factory=list)
    """When each successful run ended, by the monotonic clock."""

    def start(self, node: int, number: int, handler: str, attempt: int, at: float) -> None:
        """Note that a handler was called."""
        run = (number, handler, attempt)
        self.runs[run] += 1
        self.by_node.setdefault(run, []).append(node)
        self.first_started.setdefault((number, handler), at)

    def finish(self, number: int, handler: str, at: float) -> None:
        """Note that a handler returned."""
        self.finished.add((number, handler))
        self.finished_at.append(at)

    def dead(self, letters: Iterable[Message]) -> set[Pair]:
        """Return what was dead-lettered: a letter without a handler's name is about all handlers of its event."""
        found: set[Pair] = set()
        for letter in letters:
            owed = json.loads(letter.body).get("dawdleowed")
            found |= {(number_in(letter.body), handler) for handler in ([owed] if owed else self.handlers)}
        return found

    def lost(self, letters: Iterable[Message]) -> set[Pair]:
        """Return what was signaled, and neither finished nor dead-lettered."""
        wanted = {(number, handler) for number in self.signaled for handler in self.handlers}
        return wanted - self.finished - self.dead(letters)

    def extra(self) -> dict[tuple[int, str, int], int]:
        """Return by run how often it ran more than once."""
        return {run: count - 1 for run, count in self.runs.items() if count > 1}
