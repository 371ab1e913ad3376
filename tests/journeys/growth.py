"""A million messages go through a SQLite file; neither it nor its log may grow with what went through.

    python -m tests.journeys.growth [--messages 1000000] [--reader 60]

One process stores, another receives and deletes, and not many more than 5,000 wait. Soon a third holds a read
transaction open for so many seconds: until it ends, SQLite cannot empty the log, and after that it must be small again.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.row import Figures

WAITING = 5_000
BODY = 300
MAX_FILE_BYTES = 10 * WAITING * BODY
MAX_LOG_BYTES = 8 << 20
"""Where no reader holds it."""

SECONDS_BEFORE_READER = 3.0

STORES = f"""
import asyncio, sys
from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite

async def main(path, messages):
    async with SQLite(path) as queue:
        for sent in range(0, messages, 1000):
            batches = [[Outgoing(b"%{BODY}d" % number) for number in range(start, start + 100)]
                       for start in range(sent, min(sent + 1000, messages), 100)]
            answers = await asyncio.gather(*(queue.send(batch) for batch in batches))
            assert not any(fault for answer in answers for fault in answer)
            while (await queue.count()).waiting > {WAITING}:
                await asyncio.sleep(0.01)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

HANDLES = """
import asyncio, sys
from dawdle.backends.sqlite import SQLite

async def main(path, messages):
    seen, left, again = bytearray(messages), messages, 0
    async with SQLite(path) as queue:
        while left and (found := await queue.receive(100, 30)):
            for each in found:
                number = int(each.body)
                again += seen[number]
                left -= not seen[number]
                seen[number] = 1
            await queue.ack([each.receipt for each in found])
    print(left, again)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""

READS = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM dawdle_message").fetchall()
time.sleep(float(sys.argv[2]))
"""


def size(path: str | Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return Path(path).stat().st_size
    return 0


def journey(messages: int, reader: float) -> Figures:
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def start(code: str, *arguments: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", code, str(path), *map(str, arguments)]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        path, started = Path(folder, "app.db"), time.monotonic()
        stores = start(STORES, messages)
        handles = start(HANDLES, messages)
        reads: subprocess.Popen[str] | None = None
        largest = log = held = last = 0
        read_until = float("inf")
        while handles.poll() is None:
            time.sleep(0.02)
            largest, now = max(largest, size(path)), time.monotonic()
            last = size(f"{path}-wal") or last  # the last process to close it deletes it
            if now > read_until:
                continue
            if reads is not None:
                held = max(held, last)
                continue
            log = max(log, last)
            if reader and now > started + SECONDS_BEFORE_READER:
                reads, read_until = start(READS, reader), now + reader
        seconds = time.monotonic() - started
        assert handles.stdout is not None, "it was started with a pipe"
        lost, again = map(int, handles.stdout.read().split() or [messages, 0])
        stored = stores.wait(10)
    figures.note("messages", messages)
    figures.note("seconds", round(seconds, 1))
    figures.must("lost", lost, lost == 0, "0")
    figures.must("received twice", again, again == 0, "0")
    figures.must("exit codes", (stored, handles.returncode), (stored, handles.returncode) == (0, 0), "0 and 0")
    figures.must("largest file, kB", largest // 1000, largest <= MAX_FILE_BYTES, f"≤ {MAX_FILE_BYTES // 1000:,}")
    figures.must("largest log, kB", log // 1000, log <= MAX_LOG_BYTES, f"≤ {MAX_LOG_BYTES // 1000:,}")
    if reader:
        figures.note("largest log while it is read, kB", held // 1000)
        figures.must("log at the end, kB", last // 1000, last <= MAX_LOG_BYTES, f"≤ {MAX_LOG_BYTES // 1000:,}")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--reader", type=float, default=60.0, help="seconds of the read transaction; 0: none")
    asked = parser.parse_args()
    found = journey(asked.messages, asked.reader)
    for name, value in found.shown.items():
        print(f"{name:34} {value}")
    print(*found.broken, sep="\n", file=sys.stderr)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main())
