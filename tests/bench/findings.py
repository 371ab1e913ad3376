"""What the benchmark found, as it is kept in JSON: values, what they are compared with, and where they come from."""

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec

from tests.bench.rows import Row
from tests.bench.runs import Found, best
from tests.bench.work import Result

PACKAGES: Final = (
    "dawdle", "fanferro", "taskiq", "taskiq-aio-sqs", "aiobotocore", "botocore", "aiohttp", "pyee", "bubus",
    "msgspec", "uvloop", "httptools",
)  # fmt: skip


class Finding(msgspec.Struct, kw_only=True):
    """One contestant in one row."""

    value: float
    """In the row's unit: of each run the best repeat, of these the worst."""

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

    @property
    def requests_per_event(self) -> float:
        """Return the requests of all operations per event."""
        return sum(self.requests.values())


class RowFinding(msgspec.Struct, kw_only=True):
    """One row."""

    row: Row
    contestants: dict[str, Finding]
    reached: float | None = None
    """What the target is about: the worst ratio of any run, or the worst value."""

    @property
    def is_met(self) -> bool | None:
        """Return whether the target is reached; None: there is none, or what it is compared with was not measured."""
        if self.row.target is None or self.reached is None:
            return None
        return self.reached <= self.row.target.at_most

    @property
    def lost_to(self) -> list[str]:
        """Return who needs less than dawdle."""
        ours = self.contestants.get("dawdle")
        return [name for name, their in self.contestants.items() if ours is not None and their.value < ours.value]


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
    """Put the runs together. A contestant that was not measured in a row is left out of it."""
    rows = list(rows)
    found = [RowFinding(row=row, contestants=contestants_of(row, runs)) for row in rows]
    by_name = {each.row.name: each for each in found}
    for each in found:
        if (target := each.row.target) is None or "dawdle" not in each.contestants:
            continue
        ours = each.contestants["dawdle"].runs
        if not target.peer:
            each.reached = max(ours)
        elif (of := by_name.get(target.row or each.row.name)) is not None and target.peer in of.contestants:
            theirs = of.contestants[target.peer].runs
            each.reached = max(mine / their for mine, their in zip(ours, theirs, strict=False))
    return found


def contestants_of(row: Row, runs: Sequence[Found]) -> dict[str, Finding]:
    found: dict[str, Finding] = {}
    for name in row.contestants:
        bests = [result for run in runs if (result := best(row, run.get((row.name, name), []))) is not None]
        if bests:
            found[name] = finding(row, bests)
    return found


def finding(row: Row, bests: list[Result]) -> Finding:
    worst = max(bests, key=row.value)
    return Finding(
        value=round(row.value(worst), 2),
        runs=[round(row.value(result), 2) for result in bests],
        rate=None if worst.rate is None else round(worst.rate, 1),
        requests={name: round(count / worst.events, 4) for name, count in sorted(worst.requests.items())},
        fill={
            name: round(count / worst.requests[name], 2)
            for name, count in sorted(worst.entries.items())
            if worst.requests.get(name)
        },
        latency={load: [round(value, 3) for value in values] for load, values in worst.latency.items()},
        bytes=None if worst.bytes is None else round(worst.bytes),
    )


def findings(rows: list[RowFinding], method: dict[str, float]) -> Findings:
    """Add what is needed to read the values: date, machine and versions."""
    return Findings(
        date=datetime.now(UTC).date().isoformat(), machine=machine(), versions=versions(), method=method, rows=rows
    )


def machine() -> dict[str, str]:
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {sys.version.split()[0]}",
    }


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(path: Path, found: Findings) -> None:
    """Write the JSON, one short line for each value, so that a change is read easily."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def read(path: Path) -> Findings:
    """Read what was written."""
    return msgspec.json.decode(path.read_bytes(), type=Findings)
