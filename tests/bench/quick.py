"""Compares a short run with the committed one, by ratios.

What an event costs differs from machine to machine; what it costs beside a peer's differs less.
"""

from collections.abc import Iterator

import msgspec

from tests.bench.findings import Findings, RowFinding

WORSE: float = 1.25
"""A ratio may be so many times the committed one."""


class Regression(msgspec.Struct, frozen=True):
    """A ratio that is worse than the committed one."""

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
    """Yield each ratio of dawdle to a peer that is worse by more than a quarter."""
    for row in now:
        if row.row.name not in committed or row.row.unit != "µs":
            continue
        before = committed[row.row.name].contestants
        for peer in row.contestants:
            if peer == "dawdle" or not {"dawdle", peer} <= set(before) or "dawdle" not in row.contestants:
                continue
            ratio = row.contestants["dawdle"].value / row.contestants[peer].value
            was = before["dawdle"].value / before[peer].value
            if ratio > was * WORSE:
                yield Regression(row.row.name, peer, ratio, was)
