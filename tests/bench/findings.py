"""What the benchmark found, as it is kept in JSON: values, what they are compared with, and where they come from."""

import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from math import fsum
from pathlib import Path
from typing import Final

import msgspec

import dawdle
from tests.bench.rows_data import LEAST, Row
from tests.bench.runs import Found, best
from tests.bench.work import Result

PACKAGES: Final = (
    "fanferro", "taskiq", "taskiq-aio-sqs", "aiobotocore", "botocore", "aiohttp", "pyee", "bubus",
    "huey", "litequeue", "localqueue", "persist-queue", "simplebroker", "msgspec", "uvloop", "httptools",
)  # fmt: skip


Bests = dict[tuple[str, str], Result]
"""Of one run, by row and contestant: the repeat that counts."""


class Finding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One contestant in one row."""

    value: float
    """In the row's unit, of the run that counts."""

    runs: list[float]
    """The best of each run."""

    rate: float | None = None
    """Events per second."""

    requests: dict[str, float] = {}
    """Per event, by operation; of the repeat that counts."""

    fill: dict[str, float] = {}
    """Entries per request, by operation."""

    latency: dict[str, list[float]] = {}
    bytes: float | None = None
    syncs: float | None = None
    """Of a file to the disk, per event."""

    @property
    def requests_per_event(self) -> float:
        """Return the requests of all operations per event."""
        return fsum(self.requests.values())  # not sum, which rounds otherwise before Python 3.12


class RowFinding(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One row."""

    row: Row
    contestants: dict[str, Finding]
    reached: float | None = None
    """What the target is about: the worst ratio of any run, or the worst value."""

    date: str = ""
    """When it was measured, if not with the others."""

    load: float | None = None
    """The load average of the machine before that."""

    @property
    def is_met(self) -> bool | None:
        """Return whether the target is reached; None: there is none, or what it is compared with was not measured."""
        if self.row.target is None or self.reached is None:
            return None
        bound = self.row.target.at_most
        return self.reached >= bound if self.row.is_more_better else self.reached <= bound

    @property
    def lost_to(self) -> list[str]:
        """Return who needs less than dawdle, of those that are compared."""
        ours = self.contestants.get(self.row.ours)
        compared = {name: its for name, its in self.contestants.items() if name not in self.row.beside}
        return [name for name, their in compared.items() if ours is not None and their.value < ours.value]


class Findings(msgspec.Struct, kw_only=True):
    """Everything, with method, machine and versions."""

    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    method: dict[str, float]
    rows: list[RowFinding]

    def __getitem__(self, name: str) -> RowFinding:
        return next(row for row in self.rows if row.row.name == name)

    def __contains__(self, name: str) -> bool:
        return any(row.row.name == name for row in self.rows)


def find(rows: Iterable[Row], runs: Sequence[Found]) -> list[RowFinding]:
    """Put the runs together: of each run the best repeat counts, and of the runs the one that is worst for dawdle."""
    rows = list(rows)
    bests = [
        {
            (row.name, name): result
            for row in rows
            for name in row.contestants
            if (result := best(row, run.get((row.name, name), []))) is not None
        }
        for run in runs
    ]
    return [found for row in rows if (found := find_row(row, {each.name: each for each in rows}, bests)).contestants]


def find_row(row: Row, rows: dict[str, Row], bests: list[Bests]) -> RowFinding:
    marks = [mark(row, rows, run) for run in bests]
    known = [each for each in marks if each is not None]
    ours = [row.value(run[row.name, row.ours]) if (row.name, row.ours) in run else 0.0 for run in bests]
    # Without a mark, the run counts in which dawdle needs most. All values of a row are of one run: ratios count.
    worst = bests[marks.index(row.worst(known)) if known else ours.index(max(ours))]
    contestants = {
        name: finding(row, worst[row.name, name], [run[row.name, name] for run in bests if (row.name, name) in run])
        for name in row.contestants
        if (row.name, name) in worst
    }
    return RowFinding(row=row, contestants=contestants, reached=row.worst(known) if known else None)


def mark(row: Row, rows: dict[str, Row], run: Bests) -> float | None:
    """Return what the target is about in one run: a ratio, a difference or a value; None without target or result."""
    if (target := row.target) is None or (row.name, row.ours) not in run:
        return None
    ours = row.value(run[row.name, row.ours])
    if not target.peer:
        return ours
    of = rows.get(target.row or row.name)
    if of is None:
        return None
    peers = [name for name in of.contestants if name not in {row.ours, *of.beside}]
    names = peers if target.peer == LEAST else [target.peer]
    theirs = [of.value(run[of.name, name]) for name in names if (of.name, name) in run]
    if not theirs:
        return None
    return ours - min(theirs) if target.is_over else ours / min(theirs)


def finding(row: Row, counts: Result, each_run: list[Result]) -> Finding:
    return Finding(
        value=round(row.value(counts), 3 if row.figure else 2),
        runs=[round(row.value(result), 3 if row.figure else 2) for result in each_run],
        rate=None if counts.rate is None else round(counts.rate, 1),
        requests={name: round(count / counts.events, 4) for name, count in sorted(counts.requests.items())},
        fill={
            name: round(count / counts.requests[name], 2)
            for name, count in sorted(counts.entries.items())
            if counts.requests.get(name)
        },
        latency={load: [round(value, 3) for value in values] for load, values in counts.latency.items()},
        bytes=None if counts.bytes is None else round(counts.bytes),
        syncs=None if counts.syncs is None else round(counts.syncs, 3),
    )


def findings(rows: list[RowFinding], method: dict[str, float]) -> Findings:
    """Add what is needed to read the values: date, machine and versions."""
    return Findings(
        date=datetime.now(UTC).date().isoformat(), machine=machine(), versions=versions(), method=method, rows=rows
    )


def updated(before: Findings, now: Findings) -> Findings:
    """Return the findings of before with the rows of now in their place; each of these says when it was measured."""
    date = "" if now.date == before.date else now.date
    load = now.method.get("load")
    fresh = {row.row.name: msgspec.structs.replace(row, date=date, load=load) for row in now.rows}
    rows = [fresh.pop(row.row.name, row) for row in before.rows]
    versions = {**before.versions, **now.versions} if not date else {**now.versions, **before.versions}
    return msgspec.structs.replace(before, rows=[*rows, *fresh.values()], versions=versions, machine=now.machine)


def machine() -> dict[str, str]:
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "sqlite": sqlite3.sqlite_version,
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    found = {"dawdle": dawdle.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(path: Path, found: Findings) -> None:
    """Write the JSON, one line for each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = msgspec.json.encode(msgspec.structs.replace(found, rows=[])).removesuffix(b"[]}")
    rows = b",\n".join(msgspec.json.encode(row) for row in found.rows)
    path.write_bytes(head + b"[\n" + rows + b"\n]}\n")


def read(path: Path) -> Findings:
    """Read what was written."""
    return msgspec.json.decode(path.read_bytes(), type=Findings)
