"""Compares a short run with the committed one, by ratios.

What an event costs differs from machine to machine; what it costs beside a peer's differs less.
"""

from collections.abc import Iterator

import msgspec

from tests.bench.findings import Findings, RowFinding

WORSE: float = 1.25
"""A ratio may be so many times the committed one."""


class Regression(msgspec.Struct, frozen=True):
    """A ratio, and the committed one."""

    row: str
    peer: str
    now: float
    committed: float

    def __str__(self) -> str:
        return (
            f"{self.row}: dawdle needs {self.now:.2f} × what {self.peer} needs; in the committed run it was "
            f"{self.committed:.2f} ×: worse by {self.now / self.committed - 1:.0%}"
        )


def regressions(now: list[RowFinding], committed: Findings) -> Iterator[Regression]:
    """Yield each row in which the ratio of dawdle to its peers is worse by more than a quarter.

    Of several peers the middle one counts. What became worse in dawdle shows beside all of them; what shows beside one
    alone is that peer's: on a machine of two cores with a load of 15, fanferro's threads need a fifth less CPU.
    """
    for row in now:
        if row.row.name not in committed or row.row.unit != "µs":
            continue
        changes = sorted(compared(row, committed[row.row.name]), key=lambda each: each.now / each.committed)
        if changes and (middle := changes[(len(changes) - 1) // 2]).now > middle.committed * WORSE:
            yield middle


def compared(row: RowFinding, committed: RowFinding) -> Iterator[Regression]:
    """Yield the ratio of dawdle to each peer that was measured both times."""
    before = committed.contestants
    for peer in row.contestants:
        if peer != "dawdle" and {"dawdle", peer} <= set(before) and "dawdle" in row.contestants:
            ratio = row.contestants["dawdle"].value / row.contestants[peer].value
            yield Regression(row.row.name, peer, ratio, before["dawdle"].value / before[peer].value)
