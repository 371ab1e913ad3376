"""The findings on a queue in a SQLite file as tables."""

from tests.bench.cells import Table, amount, number, reached, value, verdict, wanted
from tests.bench.findings import Finding, RowFinding


def targets(rows: list[RowFinding]) -> Table:
    """What dawdle is to reach on a file, and what it reaches."""
    return Table(
        "On a SQLite file",
        f"{measured(rows)}CPU per event of all processes and threads, unless a cell says otherwise; every event "
        "is on the disk before `signal()` returns.",
        ["Work", "dawdle", "In memory", "To reach", "Reached", "Verdict"],
        [[r.row.title, value(r, r.row.ours), of_memory(r), wanted(r), reached(r), verdict(r)] for r in rows],
    )


def of_memory(row: RowFinding) -> str:
    its = row.contestants.get("dawdle in memory")
    return "" if its is None else amount(row, its.value)


def peers(rows: list[RowFinding]) -> Table:
    """One queue a line, one backlog a column."""
    names = list(dict.fromkeys(name for row in rows for name in row.contestants))
    lines = [
        [
            name,
            syncs(rows, name),
            *(cell(row.contestants.get(name)) for row in rows),
            "" if compared(rows, name) else "–",
        ]
        for name in names
    ]
    verdicts = [verdict(row) for row in rows]
    return Table(
        "Queues in a file",
        f"{measured(rows)}CPU in microseconds to put, get and ack one message, while so many wait in the queue. dawdle "
        "from 64 tasks, all others one call after another, since their calls do not share transactions. A dash: not "
        "compared.",
        ["", "Syncs per message", *(row.row.title.removeprefix("put, get and ack, ") for row in rows), ""],
        [*lines, ["**Verdict**", "", *verdicts, ""]],
    )


def compared(rows: list[RowFinding], name: str) -> bool:
    return not any(name in row.row.beside for row in rows)


def cell(its: Finding | None) -> str:
    return "–" if its is None else number(its.value)


def syncs(rows: list[RowFinding], name: str) -> str:
    counts = [its.syncs for row in rows if (its := row.contestants.get(name)) is not None and its.syncs is not None]
    return f"{counts[0]:.2f}" if counts else "not counted"


def measured(rows: list[RowFinding]) -> str:
    """Return when, and on how busy a machine, where that was not with the rest."""
    dates = sorted({row.date for row in rows if row.date})
    loads = [row.load for row in rows if row.load is not None]
    when = f"Measured on {', '.join(dates)}. " if dates else ""
    return f"{when}The machine's load was {min(loads):.1f} to {max(loads):.1f} before. " if loads else when
