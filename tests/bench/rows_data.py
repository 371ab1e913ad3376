"""What a row is: one kind of work, done by several contestants side by side."""

from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from tests.bench.work import Job, Result, Where, Work

Unit = Literal["µs", "ms", "B", "/s", "%", "share", "syncs"]

LEAST: Final = "*"
"""As the peer of a target: whoever needs the least of those that are compared."""


class Target(msgspec.Struct, frozen=True, omit_defaults=True):
    """What dawdle is to reach: at most so many times what a peer needs, or without a peer so many of the unit.

    Where more is better, at least so many.
    """

    at_most: float
    peer: str = ""
    row: str = ""
    """The row of that peer; empty: this one."""

    is_over: bool = False
    """At most so many of the unit over what the peer needs."""


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One kind of work."""

    name: str
    title: str
    measure: str
    where: Where
    contestants: tuple[str, ...]
    work: Work = Work()
    unit: Unit = "µs"
    target: Target | None = None
    figure: str = ""
    """Which of the measure's figures is compared; empty: the CPU, the milliseconds or the bytes."""

    is_more_better: bool = False
    is_bound: bool = False
    """Whether the worst process counts: chance makes it better as well as worse."""

    beside: tuple[str, ...] = ()
    """Contestants that are shown and not compared, since they do less."""

    ours: str = "dawdle"
    """The contestant that the target is for."""

    def jobs(self, seconds: float) -> Iterator[Job]:
        """Return one job for each contestant."""
        work = msgspec.structs.replace(self.work, seconds=seconds)
        for each in self.contestants:
            yield Job(contestant=each, measure=self.measure, where=self.where, work=work)

    def value(self, result: Result) -> float:
        """Return what this row compares."""
        if self.figure:
            return result.figures[self.figure]
        value = {"µs": result.cpu_us, "ms": result.milliseconds, "B": result.bytes}.get(self.unit)
        assert value is not None, (self.name, result)
        return value

    def worst(self, values: Iterable[float]) -> float:
        """Return the worst of some values."""
        return min(values) if self.is_more_better else max(values)

    def best(self, results: Iterable[Result]) -> Result:
        """Return the result that counts: noise only adds to a cost, so it is the best."""
        return (max if self.is_more_better is not self.is_bound else min)(results, key=self.value)
