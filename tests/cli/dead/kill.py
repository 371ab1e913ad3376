"""`dawdle dead redrive` is ended in the middle, again and again; each letter is afterwards a letter or an event.

    python -m tests.cli.dead.kill [--sqs] [--letters 5000] [--kills 10] [--with INT KILL]

Letters lie in the dead-letter queue of a SQLite file, or of the SQS test server. The command runs as a process, and is
ended with SIGKILL or SIGINT once it has moved some more of them. After each end all letters and events are counted: a
letter that is neither is lost, one that is both would be handled twice. At last a redrive runs to its end.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from dawdle.abc import Browsable, Outgoing
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.testing.sqs import QueueView, SQSServer

LEASE = 0.5
"""Seconds until the letters come back that a killed command had received."""

PATIENCE = 120


class Figures(NamedTuple):
    letters: int
    kills: int
    codes: Counter[int]
    lost: int
    doubled: int
    """Letters that were an event as well after an end: a redrive moves them once more."""
    events: int


def letter(number: int) -> bytes:
    """A letter as dawdle writes it."""
    event = {"specversion": "1.0", "id": f"e-{number}", "source": "shop", "type": "OrderPlaced", "data": {"n": number}}
    dead = {
        "dawdleowed": "book_parcel",
        "dawdledead": "2026-11-28T20:00:00Z",
        "dawdleerror": "gone",
        "dawdleattempt": 12,
    }
    return json.dumps(event | dead).encode()


class OnSQLite:
    def __init__(self, path: Path) -> None:
        self.queue = SQLite(path / "shop.db", lease=LEASE)
        self.environment = {
            "DAWDLE_BACKEND": f"{__spec__.name}.sqlite_of_short_lease",
            "DAWDLE_SQLITE_PATH": str(path / "shop.db"),
        }

    async def left(self) -> int:
        """How many letters there are."""
        assert self.queue.dead_letters is not None
        counts = await self.queue.dead_letters.count()
        return counts.waiting + counts.in_flight

    async def ids(self) -> tuple[list[str], list[str]]:
        """The ids of the letters and of the events, whether they are hidden or not."""
        assert self.queue.dead_letters is not None
        return await browsed(self.queue.dead_letters), await browsed(self.queue)


class OnSQS:
    def __init__(self, server: SQSServer) -> None:
        self.server = server
        url, dead = server.queue_url("shop"), server.queue_url("shop-dead")
        self.queue = SQS(url, dead_letter_url=dead, endpoint_url=server.endpoint_url, region="us-east-1")
        self.environment = {**server.environment, "DAWDLE_BACKEND": f"{__spec__.name}.sqs_of_short_lease"}

    async def left(self) -> int:
        dead = self.server.queue("shop-dead")
        return dead.visible + dead.in_flight

    async def ids(self) -> tuple[list[str], list[str]]:
        return seen(self.server.queue("shop-dead")), seen(self.server.queue("shop"))


def sqlite_of_short_lease() -> SQLite:
    """The queue of the command, by `DAWDLE_BACKEND`."""
    return SQLite(lease=LEASE)


def sqs_of_short_lease() -> SQS:
    """The queue of the command, by `DAWDLE_BACKEND`."""
    return SQS(lease=1)


async def browsed(queue: Browsable) -> list[str]:
    ids, after = [], None
    while page := await queue.browse(1000, after):
        ids += [json.loads(each.body)["id"] for each in page]
        after = page[-1].key
    return ids


def seen(view: QueueView) -> list[str]:
    return [json.loads(each.body)["id"] for each in view.messages() if each.state != "gone"]


@asynccontextmanager
async def place(*, sqs: bool) -> AsyncGenerator[OnSQLite | OnSQS]:
    if not sqs:
        with tempfile.TemporaryDirectory() as folder:
            found = OnSQLite(Path(folder))
            async with found.queue:
                yield found
        return
    server = SQSServer()
    server.create_queue("shop", dead_letter="shop-dead")
    async with server:
        os.environ.update(server.environment)
        on_sqs = OnSQS(server)
        async with on_sqs.queue:
            yield on_sqs


async def redrive(where: OnSQLite | OnSQS, *, end: int | None, at: int) -> int:
    """Run the command; end it once `at` letters are left, if it is to be ended. Return its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dawdle", "dead", "redrive", "--yes"),
        env=os.environ | where.environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = asyncio.create_task(process.stderr.read())
    ended = asyncio.create_task(process.wait())
    while end is not None and not ended.done():
        if await where.left() <= at:
            process.send_signal(end)
            break
        await asyncio.sleep(0.005)
    code = await asyncio.wait_for(ended, PATIENCE)
    text = (await said).decode()
    if code not in {0, 130, -signal.SIGKILL}:
        sys.exit(f"the command ended with {code}:\n{text}")
    return code


async def run(letters: int, kills: int, ends: Sequence[int], *, sqs: bool) -> Figures:
    codes: Counter[int] = Counter()
    doubled: set[str] = set()
    lost: set[str] = set()
    async with place(sqs=sqs) as where:
        dead = where.queue.dead_letters
        assert dead is not None
        wanted = {f"e-{number}" for number in range(letters)}
        for start in range(0, letters, 10):
            await dead.send([Outgoing(letter(number)) for number in range(start, min(start + 10, letters))])
        for number in range(kills + 1):
            left = await where.left()
            last = number == kills
            # Somewhere in the next share of the letters, so that each run is ended in the middle.
            at = random.randint(*sorted((left - 1, left * (kills - number) // (kills - number + 1)))) if left else 0
            codes[await redrive(where, end=None if last else ends[number % len(ends)], at=at)] += 1
            await asyncio.sleep(1.2 if sqs else LEASE + 0.1)  # what the command had received is visible again
            as_letters, as_events = await where.ids()
            lost |= wanted - {*as_letters, *as_events}
            doubled |= {*as_letters} & {*as_events}
            doubled |= {each for each, count in Counter(as_events).items() if count > 1}
        assert not as_letters, "the last run moves all that is left"
    return Figures(letters, kills, codes, len(lost), len(doubled), len(set(as_events)))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sqs", action="store_true", help="on the SQS test server")
    options.add_argument("--letters", type=int, default=5000)
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--with", dest="ends", nargs="+", choices=["KILL", "INT"], default=["KILL"])
    asked = options.parse_args()
    ends = [signal.Signals[f"SIG{name}"] for name in asked.ends]
    figures = asyncio.run(run(asked.letters, asked.kills, ends, sqs=asked.sqs))
    for name, value in figures._asdict().items():
        print(f"{name:<24}{dict(value) if isinstance(value, Counter) else value}")
    sys.exit(bool(figures.lost or (asked.ends == ["INT"] and figures.doubled)))


if __name__ == "__main__":
    main()
