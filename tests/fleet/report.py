"""What a run has shown: a table, the sentences below it, and the file of figures beside the docs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table

from tests.fleet.counted import Counted

FIGURES: Final = Path(__file__).parents[2] / "docs" / "explain" / "fleet.json"
"""Where the figures of a whole run are kept. The docs' page about costs is tested against them."""

COLUMNS: Final = (
    *(
        "nodes",
        "scenario",
        "events",
        "requests/event",
        "requests/h",
        "$/day",
        "drained after",
        "wait p50",
        "p99",
        "most",
    ),
    *("extra runs", "lost"),
)


class Figures(msgspec.Struct, frozen=True):
    """The content of that file."""

    seed: int
    results: list[Counted]

    def find(self, scenario: str, nodes: int) -> Counted | None:
        """Return one result; None: it was not run."""
        return next((each for each in self.results if (each.scenario, each.nodes) == (scenario, nodes)), None)

    def of(self, scenario: str, nodes: int) -> Counted:
        """Return one result that was run."""
        found = self.find(scenario, nodes)
        assert found is not None, f"no {scenario} with {nodes} nodes"
        return found


def write(path: Path, seed: int, results: Sequence[Counted]) -> None:
    """Write figures, in a form that shows what has changed line by line."""
    text = msgspec.json.format(msgspec.json.encode(_rounded(Figures(seed, list(results)))), indent=1)
    path.write_bytes(text + b"\n")


def read(path: Path = FIGURES) -> Figures:
    """Read figures."""
    return msgspec.json.decode(path.read_bytes(), type=Figures)


def table(results: Sequence[Counted]) -> Table:
    """Return the table that is printed: one row for each scenario and size."""
    shown = Table()
    for name in COLUMNS:
        shown.add_column(name, justify="left" if name == "scenario" else "right", no_wrap=True)
    before = 0
    for each in results:
        if each.nodes != before and before:
            shown.add_section()
        before = each.nodes
        shown.add_row(
            f"{each.nodes:,}",
            each.scenario,
            f"{each.events:,}",
            _number(each.per_event, ".2f"),
            f"{each.per_hour:,.0f}" if each.scenario == "idle" else "",
            f"{each.dollars_per_day:,.4f}" if each.scenario == "idle" else "",
            _number(each.drained_after, ".1f", " s"),
            _number(each.wait_p50, ".3f", " s"),
            _number(each.wait_p99, ".3f", " s"),
            _number(each.wait_max, ".3f", " s"),
            f"{each.extra_runs:,}",
            f"{each.lost:,}",
        )
    return shown


def notes(results: Sequence[Counted]) -> Iterator[str]:
    """Return the sentences below the table: how a day was counted, and which promises did not hold."""
    yield "requests/event: with the polls that found nothing. wait: from stored to started."
    yield "deploy: 1 of 100 handlers takes up to a minute, also while the queue is drained."
    for each in results:
        if len(each.by_hour) > 1:
            yield (
                f"idle, {each.nodes:,} nodes: {len(each.by_hour)} hours simulated, "
                f"{min(each.by_hour):,} to {max(each.by_hour):,} requests each"
            )
        elif each.by_hour:
            yield f"idle, {each.nodes:,} nodes: one hour simulated, and multiplied to a day"
    for each in results:
        for broken in each.broken:
            yield f"BROKEN: {each.scenario}, {each.nodes:,} nodes: {broken}"


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "" if value is None else f"{value:,{form}}{unit}"


def _rounded(figures: Figures) -> Figures:
    """Return the same without digits that say nothing."""

    def rounded(counted: Counted) -> Counted:
        changes = {
            name: round(value, 4)
            for name in ("seconds", "drained_after", "wait_p50", "wait_p99", "wait_max")
            if (value := getattr(counted, name)) is not None
        }
        return msgspec.structs.replace(counted, **changes)

    return Figures(figures.seed, [rounded(each) for each in figures.results])
