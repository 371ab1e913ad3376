"""Cut the power at random moments, and look whether what was acknowledged is still there.

    python -m tests.power_cut [--runs 5] [--cuts 200] [--processes 4] [--kills 5] [--seed N] [--only full]

Processes on one SQLite file send, receive and ack, some are killed and replaced, and every write and sync is noted by
`journal.c`. For each cut the files are made anew as a disk may hold them after it, opened by the backend, and held
against what the processes had been told by then. A failure prints its seed; `--runs 1 --seed N` repeats the kinds of
cuts, while the processes race. What is run: `full`, `failing` (full, on a disk whose syncs fail now and then, and lose
what they should have written) and `normal`.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from dawdle.backends.sqlite import SQLite
from dawdle.testing import ManualClock
from tests.faults.row import Figures
from tests.power_cut.disk import Disk, Record, records

NAME = "app.db"
PATIENCE = 120.0
FAILURES = 10
LATER = 1e9
"""Seconds after which every lease and delay is over."""


@dataclass(frozen=True)
class Load:
    """What is done to a file before the cuts."""

    processes: int = 4
    messages: int = 300
    """That each process sends."""

    kills: int = 5
    """Processes that are killed and replaced meanwhile."""

    failures: int = 0
    """How often all syncs fail for some milliseconds meanwhile."""


@dataclass
class Told:
    """What the processes asked for, and what they were told, up to some moment."""

    send: set[str] = field(default_factory=set)
    stored: set[str] = field(default_factory=set)
    ack: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)

    def add(self, record: Record) -> None:
        what, name = record.data.decode().split(" ")
        getattr(self, what).add(name)


def build(folder: Path) -> Path:
    """Compile what notes the writes."""
    made = folder / "journal.so"
    source = Path(__file__).with_name("journal.c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


def journal_of(seed: int, durability: str, load: Load) -> list[Record]:
    """Let processes work on one file, and return what was done to it and what they were told."""
    random = Random(seed)
    with tempfile.TemporaryDirectory() as made:
        folder, shim = Path(made), build(Path(made))
        journal = folder / "journal"
        journal.touch()
        path = folder / "data" / NAME
        path.parent.mkdir()
        fails = folder / "fails"
        noted = {"LD_PRELOAD": str(shim), "POWER_CUT_FILE": str(path), "POWER_CUT_JOURNAL": str(journal)}
        if load.failures:
            noted["POWER_CUT_FAILS"] = str(fails)
        workers: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            name, its_seed = f"p{len(workers)}", f"{random.randrange(1 << 30)}"
            command = [sys.executable, "-m", "tests.power_cut.work", str(path), name, its_seed, durability]
            workers.append(subprocess.Popen([*command, f"{load.messages}"], env=os.environ | noted))

        for _ in range(load.processes):
            start()
        killed = 0
        try:
            _fail_syncs(fails, journal, workers[0], random, load.failures)
            for _ in range(load.kills):
                time.sleep(random.uniform(0.2, 0.6))
                living = [worker for worker in workers if worker.poll() is None]
                if living:
                    random.choice(living).kill()
                    killed += 1
                    start()
            codes = Counter(worker.wait(PATIENCE) for worker in workers)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        if codes[0] < load.processes or codes[0] + codes[-signal.SIGKILL] < len(workers):
            raise RuntimeError(f"workers ended with {dict(codes)}, and say above why")
        found = list(records(journal.read_bytes()))
        if not killed:  # a kill may come between a write and its record
            _must_tell_all(found, path.parent)
        return found


def _fail_syncs(fails: Path, journal: Path, worker: subprocess.Popen[bytes], random: Random, times: int) -> None:
    while times and not journal.stat().st_size and worker.poll() is None:
        time.sleep(0.01)  # until the first of them has begun
    for _ in range(times):
        time.sleep(random.uniform(0.01, 0.06))
        fails.touch()
        time.sleep(random.uniform(0.001, 0.01))
        fails.unlink()


def _must_tell_all(journal: Sequence[Record], folder: Path) -> None:
    disk = Disk()
    for record in journal:
        disk.do(record)
    if {
        each.name: each.read_bytes() for each in folder.iterdir() if each.name in disk.with_power()
    } != disk.with_power():
        raise RuntimeError("the files are not what the journal says: a write was not noted")


async def left_in(folder: Path) -> set[str]:
    """Return the messages that a file holds, whatever their leases and delays."""
    found: set[str] = set()
    async with SQLite(folder / NAME, clock=ManualClock(time.time() + LATER)) as queue:
        while some := await queue.receive(100, 0):
            found |= {each.body.decode().strip() for each in some}
    return found


def damage_in(folder: Path) -> str:
    with sqlite3.connect(folder / NAME) as connection:
        ((answer, *_), *_) = connection.execute("PRAGMA integrity_check").fetchall()
    connection.close()
    return "" if answer == "ok" else answer


@dataclass
class Cuts:
    """What came of all cuts."""

    cuts: int = 0
    lost: int = 0
    back: int = 0
    strange: int = 0
    damaged: int = 0
    acknowledged: int = 0
    failures: list[str] = field(default_factory=list)

    def check(self, disk: Disk, told: Told, random: Random | None, where: str) -> None:
        """Cut the power now, and count what is wrong then."""
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            for name, content in disk.after_a_cut(random).items():
                (folder / name).write_bytes(content)
            try:
                left = asyncio.run(left_in(folder))
                damage = damage_in(folder)
            except Exception as error:
                left, damage = set(told.stored), f"{type(error).__name__}: {error}"
        self.cuts += 1
        self.acknowledged += len(told.stored) + len(told.acked)
        lost, back = told.stored - told.ack - left, told.acked & left
        strange = left - told.send
        self.lost, self.back, self.strange = self.lost + len(lost), self.back + len(back), self.strange + len(strange)
        self.damaged += bool(damage)
        if lost or back or strange or damage:
            self.failures.append(
                f"{where}: lost {sorted(lost)[:5]}, deleted and back {sorted(back)[:5]}, never sent "
                f"{sorted(strange)[:5]}, damage {damage!r}"
            )


def run(seeds: Sequence[int], *, cuts: int, load: Load, durability: str = "full") -> Figures:
    """Return what was counted. With `normal` the last commits may go, and some do, or this check is none."""
    figures, found = Figures(), Cuts()
    commits = synced = syncs = others = failed = 0
    for seed in seeds:
        journal, random = journal_of(seed, durability, load), Random(seed)
        moments = sorted(random.sample(range(len(journal)), min(cuts, len(journal))))
        disk, told, done = Disk(), Told(), 0
        for moment in [*moments, len(journal)]:
            for record in journal[done:moment]:
                told.add(record) if record.what == b"A" else disk.do(record)
            done = moment
            torn = random if random.random() < 0.7 else None
            found.check(disk, told, torn, f"seed {seed}, cut after {moment:,} of {len(journal):,} records")
        commits, synced, syncs = commits + disk.commits, synced + disk.synced, syncs + disk.syncs["-wal"]
        # The log is synced once more when it begins anew, and before a checkpoint moves it into the database.
        others += disk.restarts + disk.syncs[""]
        failed += disk.failed_syncs
    figures.note("durability", durability)
    figures.note("seeds", f"{seeds[0]} to {seeds[-1]}")
    figures.note("processes, and kills in each run", f"{load.processes}, {load.kills}")
    figures.note("transactions", commits)
    if load.failures:
        figures.must("syncs that failed", failed, failed > 0, "more: the check finds nothing")
    figures.note("cuts", found.cuts)
    figures.note("answers held against a disk", found.acknowledged)
    if durability == "full":
        # A transaction of leases alone needs none; no other may be missing, or else something is lost or back below.
        figures.must("synced at once", synced, 0 < synced <= commits, f"{commits} or fewer")
        # A sync that failed is done again, with the whole log.
        others += failed
        figures.must("other syncs of the log", syncs - synced, syncs - synced <= others, f"{others} or less")
        figures.must("lost", found.lost, found.lost == 0, "0")
        figures.must("deleted, and back", found.back, found.back == 0, "0")
    else:
        figures.must("synced at once", synced, synced < commits / 2, "less than half of them")
        figures.must("lost", found.lost, found.lost > 0, "more: the check finds nothing")
        figures.must("deleted, and back", found.back, found.back > 0, "more: the check finds nothing")
    figures.must("never sent", found.strange, found.strange == 0, "0")
    figures.must("damaged files", found.damaged, found.damaged == 0, "0")
    if figures.broken:
        figures.broken += found.failures[:10]
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cuts", type=int, default=200, help="cuts in each run")
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--messages", type=int, default=300, help="messages that each process sends")
    parser.add_argument("--kills", type=int, default=5, help="processes that are killed in each run, and replaced")
    parser.add_argument("--seed", type=int, help="of the first run; by chance without it")
    parser.add_argument("--only", choices=["full", "failing", "normal"], help="all of them without it")
    asked = parser.parse_args()
    first = Random().randrange(1_000_000) if asked.seed is None else asked.seed
    load = Load(asked.processes, asked.messages, asked.kills)
    broken = 0
    for what in [asked.only] if asked.only else ["full", "failing", "normal"]:
        its_load = replace(load, failures=FAILURES) if what == "failing" else load
        durability = "normal" if what == "normal" else "full"
        found = run(range(first, first + asked.runs), cuts=asked.cuts, load=its_load, durability=durability)
        for name, value in found.shown.items():
            print(f"{name:28} {value}")
        print(*found.broken, sep="\n", flush=True)
        broken += len(found.broken)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
