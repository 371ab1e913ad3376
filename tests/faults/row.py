"""One row of the fault suite: which fault, what must hold in spite of it, and what was counted.

A row is a plain function that is given its `Scale` and returns its `Figures`. It starts what it needs and ends it.
Rows register themselves when their module is imported; `python -m tests.faults` runs them and prints the table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["virtual", "real"]
"""virtual: a test clock, in this process, with thousands of seeds. real: processes, sockets and real time."""


@dataclass(frozen=True)
class Scale:
    """How much of a row is run."""

    share: float = 1.0
    """1: the whole row. Less: a part of its events, kills and seeds."""

    seed: int | None = None
    """Only this seed, to repeat a failure; None: all seeds of the row."""

    on_ministack: bool = False
    """On ministack, an independent SQS emulator."""

    on_sqlite: bool = False
    """On SQLite files."""

    def of(self, whole: int, at_least: int = 1) -> int:
        """Return a part of `whole`."""
        return max(at_least, round(whole * self.share))

    def seeds(self, whole: int) -> range:
        """Return the seeds to run."""
        return range(self.of(whole)) if self.seed is None else range(self.seed, self.seed + 1)


@dataclass
class Figures:
    """What a row counted, and which promises it found broken."""

    shown: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def note(self, name: str, value: object) -> None:
        """Show a figure."""
        self.shown[name] = (
            f"{value:,.3g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else f"{value}"
        )

    def must(self, name: str, value: object, holds: bool, wanted: str = "") -> None:
        """Show a figure that must hold; `wanted` says what it should have been."""
        self.note(name, value)
        if not holds:
            self.broken.append(f"{name} is {self.shown[name]}{f', not {wanted}' if wanted else ''}")

    def failed(self, what: str) -> None:
        """Report a broken promise, such as a seed and what it showed."""
        self.broken.append(what)


@dataclass(frozen=True)
class Row:
    """A row: its number in the table, and how it is run."""

    number: int
    kind: Kind
    title: str
    must: str
    run: Callable[[Scale], Figures]
    on_ministack: bool
    """It is run on ministack as well."""

    on_sqlite: bool
    """It is run on SQLite files as well."""

    @property
    def name(self) -> str:
        """Its number and kind, such as `9 virtual`."""
        return f"{self.number} {self.kind}"


ROWS: list[Row] = []


def row(
    number: int, kind: Kind, title: str, *, must: str, on_ministack: bool = False, on_sqlite: bool = False
) -> Callable[[Callable[[Scale], Figures]], Callable[[Scale], Figures]]:
    """Register a function as a row: `@row(19, "real", "a handler of 5 leases", must="1 run")`."""

    def register(run: Callable[[Scale], Figures]) -> Callable[[Scale], Figures]:
        ROWS.append(Row(number, kind, title, must, run, on_ministack, on_sqlite))
        return run

    return register
