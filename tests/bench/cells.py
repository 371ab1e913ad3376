"""A table, and how its cells are told."""

from collections.abc import Iterable

import msgspec
from rich.table import Table as RichTable

from tests.bench.findings import Finding, RowFinding
from tests.bench.rows_data import LEAST


class Table(msgspec.Struct, frozen=True):
    """Cells of plain text. What stands between two asterisks, at either side, is to be seen."""

    title: str
    note: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """Return the table as the docs have it."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        return f"## {self.title}\n\n{self.note}\n\n{table}\n"

    def rich(self) -> RichTable:
        """Return the table as a terminal shows it."""
        table = RichTable(*self.header, title=self.title, caption=self.note.replace("`", ""), title_justify="left")
        for row in self.rows:
            table.add_row(*(cell.replace("`", "").replace("**", "") for cell in row), style=style(row[-1]))
        return table


def style(verdict: str) -> str:
    return "red" if "missed" in verdict else "yellow" if "lost" in verdict else "green" if "reached" in verdict else ""


def columns(rows: Iterable[RowFinding]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.contestants))


def number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.1f}"


def value(row: RowFinding, name: str) -> str:
    its = row.contestants.get(name)
    return "–" if its is None else amount(row, its.value)


def amount(row: RowFinding, value: float) -> str:
    """Return a value with its unit; what is a ratio has none."""
    unit = row.row.unit
    if unit in {"%", "share", "syncs"}:
        return f"{value:.2f} %" if unit == "%" else f"{value:.2f}"
    return f"{number(value)}{unit}" if unit == "/s" else f"{number(value)} {unit}"


def others(row: RowFinding) -> str:
    return ", ".join(f"{name} {number(its.value)}" for name, its in row.contestants.items() if name != "dawdle") or "–"


def dense(its: Finding | None) -> str:
    if its is None:
        return "–"
    cell = f"{number(its.value)} · {its.rate:,.0f}"
    return f"{cell} · {its.requests_per_event:.2f}" if its.requests else cell


def wanted(row: RowFinding) -> str:
    target = row.row.target
    if target is None:
        return ""
    if not target.peer:
        return f"{'≥' if row.row.is_more_better else '≤'} {amount(row, target.at_most)}"
    if target.is_over:
        return f"≤ {target.at_most:g} {row.row.unit} more"
    if target.peer == LEAST:
        return "the least"
    of = (
        "our one"
        if target.row == "receive"
        else "the first"
        if target.row.startswith("sqlite/")
        else "the least"
        if target.row
        else target.peer
    )
    return f"≤ {target.at_most:g} × {of}"


def reached(row: RowFinding) -> str:
    target = row.row.target
    if target is None or row.reached is None:
        return ""
    if target.is_over:
        return f"{number(row.reached)} {row.row.unit} more"
    return f"{row.reached:.2f} ×" if target.peer else amount(row, row.reached)


def verdict(row: RowFinding) -> str:
    words = {None: [], True: ["reached"], False: ["**missed**"]}[row.is_met]
    if row.lost_to:
        words.append(f"**lost** to {', '.join(row.lost_to)}")
    return "; ".join(words)
