"""The findings as tables: made once, shown on the terminal and written to the docs."""

from collections.abc import Iterator

from tests.bench import sqlite_tables
from tests.bench.cells import Table, columns, dense, number, others, reached, value, verdict, wanted
from tests.bench.findings import Finding, Findings, RowFinding
from tests.bench.sqlite_tables import measured

ASKING = ("signal", "signal_many", "receive", "receive-3", "stub/saturated", "stub/in_flight=1", "stub/base")
"""Rows whose requests are shown."""


def tables(found: Findings) -> Iterator[Table]:
    """Yield every table for which there is a row."""
    by_kind: dict[str, list[RowFinding]] = {}
    for row in found.rows:
        by_kind.setdefault(kind(row), []).append(row)
    by_kind["requests"] = [r for r in found.rows if r.row.name in ASKING and asks(r)]
    for name, make in (
        ("heart", heart),
        ("requests", requests),
        ("server", server),
        ("stub", on_stub),
        ("memory", in_memory),
        ("latency", latency),
        ("held", held),
        ("growth", growth),
        ("telemetry", telemetry),
        ("sqlite", sqlite_tables.targets),
        ("sqlite/peers", sqlite_tables.peers),
    ):
        if rows := by_kind.get(name):
            yield make(rows)


def kind(row: RowFinding) -> str:
    name, measure = row.row.name, row.row.measure
    if "/" not in name:
        return "heart"
    if name.startswith("sqlite/"):
        return "sqlite/peers" if name.startswith("sqlite/peers") else "sqlite"
    if measure == "latency":
        return measure
    if name.startswith("telemetry/"):
        return "telemetry"
    if row.row.unit == "B":
        return "held"
    if len(row.row.contestants) == 1:
        return "growth"
    return name.partition("/")[0]


def heart(rows: list[RowFinding]) -> Table:
    """What dawdle is to reach, and what it reaches."""
    return Table(
        "What an event costs",
        "CPU of the client's process per event, all its threads; of an import in all. Less is better.",
        ["Work", "dawdle", "Others", "To reach", "Reached", "Verdict"],
        [[r.row.title, value(r, "dawdle"), others(r), wanted(r), reached(r), verdict(r)] for r in rows],
    )


def server(rows: list[RowFinding]) -> Table:
    """The same on the test server."""
    return Table(
        "On the SQS test server",
        "The same work on `dawdle.testing.sqs`, which checks what it gets and keeps leases as SQS does.",
        ["Work", "dawdle", "Others", "Verdict"],
        [[r.row.title, value(r, "dawdle"), others(r), verdict(r)] for r in rows],
    )


def requests(rows: list[RowFinding]) -> Table:
    """What SQS is paid for."""
    names = columns(rows)
    return Table(
        "Requests per event",
        "As the stub counts them, all operations together; and how many messages each request of dawdle has, of ten.",
        ["Work", *names, "Messages per request of dawdle"],
        [[r.row.title, *(asked(r.contestants.get(name)) for name in names), filled(r)] for r in rows],
    )


def asks(row: RowFinding) -> bool:
    return any(its.requests for its in row.contestants.values())


def asked(its: Finding | None) -> str:
    return "–" if its is None else f"{its.requests_per_event:.2f}"


def filled(row: RowFinding) -> str:
    its = row.contestants.get("dawdle")
    names = {"SendMessageBatch": "send", "ReceiveMessage": "receive", "DeleteMessageBatch": "delete"}
    return "" if its is None else ", ".join(f"{short} {its.fill[n]:.1f}" for n, short in names.items() if n in its.fill)


def on_stub(rows: list[RowFinding]) -> Table:
    """One axis at a time on the stub."""
    return axes(
        rows,
        "One thing varied, on the stub",
        "From `signal()` to the delete. A cell: microseconds of CPU per event, events per second, requests per event.",
    )


def in_memory(rows: list[RowFinding]) -> Table:
    """One axis at a time in memory."""
    return axes(
        rows,
        "One thing varied, in memory",
        "From `signal()` to the end of the handler. A cell: microseconds of CPU per event, events per second.",
    )


def axes(rows: list[RowFinding], title: str, note: str) -> Table:
    names = columns(rows)
    return Table(
        title,
        note,
        ["Varied", *names, "Verdict"],
        [[r.row.title, *(dense(r.contestants.get(name)) for name in names), verdict(r)] for r in rows],
    )


def latency(rows: list[RowFinding]) -> Table:
    """From signal to handler."""
    cells = []
    for row in rows:
        for name, its in row.contestants.items():
            loads = [f"{p50:.2f} / {p99:.2f}" for p50, p99 in its.latency.values()]
            cells.append([row.row.title, name, f"{its.rate:,.0f}", *loads])
    return Table(
        "From signal to handler",
        "Milliseconds, median and 99th percentile, at 1 %, 50 % and 90 % of the most that each one does in a second.",
        ["Where", "", "Most per second", "At 1 %", "At 50 %", "At 90 %"],
        cells,
    )


def held(rows: list[RowFinding]) -> Table:
    """Memory per message in flight."""
    return Table(
        "Memory per message",
        "Bytes beyond the body, with that many handlers under way, or events that wait for their time.",
        ["Work", "dawdle", "Others", "To reach", "Reached", "Verdict"],
        [[r.row.title, value(r, "dawdle"), others(r), wanted(r), reached(r), verdict(r)] for r in rows],
    )


def growth(rows: list[RowFinding]) -> Table:
    """What dawdle costs as more is there."""
    return Table(
        "Growth",
        "Of dawdle alone: microseconds of CPU per event, compared with the least of the same kind.",
        ["Work", "dawdle", "To reach", "Reached", "Verdict"],
        [[r.row.title, value(r, "dawdle"), wanted(r), reached(r), verdict(r)] for r in rows],
    )


def telemetry(rows: list[RowFinding]) -> Table:
    """What an event costs an app that is watched."""
    return Table(
        "Telemetry",
        f"{measured(rows)}In memory, 200 signalers: signal → one handler → done. CPU per event. Of spans there are "
        "three for each event and one for each receive; they are ended, and exported nowhere.",
        ["Work", "Watched", "Not watched", "More", "To reach", "Verdict"],
        [[r.row.title, value(r, r.row.ours), value(r, "dawdle"), more(r), wanted(r), verdict(r)] for r in rows],
    )


def more(row: RowFinding) -> str:
    its, plain = row.contestants.get(row.row.ours), row.contestants.get("dawdle")
    return "–" if its is None or plain is None else f"{number(its.value - plain.value)} µs"


def runs_of(found: Findings) -> str:
    runs = found.method["runs"]
    return "" if runs == 1 else f"the worst of {runs:g} runs, each "


def page(found: Findings) -> str:
    """Return what the docs include: when, on what, with which versions, and every table."""
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    machine = found.machine
    about = (
        f"Measured on {found.date} on {machine['processor']}, {machine['cores']} cores, {machine['system']}, "
        f"{machine['python']}; {versions}. The first table is {runs_of(found)}the "
        f"best of {found.method['repeat']:g} processes; the other tables are the best of up to "
        f"{found.method['repeat_rest']:g}.\n"
    )
    return "\n".join([about, *(table.markdown() for table in tables(found))])
