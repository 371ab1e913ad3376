"""The second process of a measurement: it opens the same file, and does what it is told, one line at a time.

python -m tests.bench.second_process '{…a job…}' put
"""

import asyncio
import logging
import random
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite
from tests.bench.rig import Rig, cpu
from tests.bench.work import Job

TASKS = 64


class SecondProcess:
    """Starts it, asks it, and ends it by closing its input."""

    def __init__(self, job: Job, role: str) -> None:
        self._arguments = ["-m", "tests.bench.second_process", msgspec.json.encode(job).decode(), role]

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(sys.executable, *self._arguments, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"ready\n":
            raise RuntimeError("the second process did not start")
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 10)
        except TimeoutError:
            self._process.kill()

    async def ask(self, line: str) -> str:
        """Let it do something, and return what it says then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        said = await self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"the second process ended instead of {line!r}")
        return said.decode().strip()


async def serve(job: Job, role: str) -> None:
    """Open what the role needs, and obey until the input ends."""
    loop = asyncio.get_running_loop()
    if role == "signal":
        rig = await Rig(job).open()
        queue = None
    else:
        queue = await SQLite(Path(job.address) / "bench.db").__aenter__()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        verb, _, amount = line.partition(" ")
        if verb.strip() == "cpu":
            said = str(cpu())
        elif verb == "signal":
            await rig.signal_each(int(amount))
            said = amount.strip()
        else:
            assert queue is not None
            said = await {"put": put, "trickle": trickle, "share": share}[verb](queue, float(amount), job)
        print(said, flush=True)
    if queue is not None:
        await queue.__aexit__(None, None, None)


async def put(queue: SQLite, seconds: float, job: Job) -> str:
    """Put messages from many tasks for so many seconds; say how many."""
    until, body = time.perf_counter() + seconds, b"x" * job.work.body
    count = 0

    async def one() -> None:
        nonlocal count
        while time.perf_counter() < until:
            await queue.send([Outgoing(body)])
            count += 1

    await asyncio.gather(*(one() for _ in range(TASKS)))
    return str(count)


async def trickle(queue: SQLite, count: float, job: Job) -> str:
    """Put messages one by one, each with the time in it."""
    for _ in range(int(count)):
        await asyncio.sleep(random.uniform(0.03, 0.11))
        await queue.send([Outgoing(str(time.time()).encode())])
    return str(int(count))


async def share(queue: SQLite, seconds: float, job: Job) -> str:
    """Put, get and ack from many tasks; say how many messages went through, and the longest wait for one call."""
    until, body = time.perf_counter() + seconds, b"x" * job.work.body
    done = 0
    longest = 0.0

    async def timed(call):  # type: ignore[no-untyped-def]
        nonlocal longest
        started = time.perf_counter()
        answer = await call
        longest = max(longest, time.perf_counter() - started)
        return answer

    async def one() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await timed(queue.send([Outgoing(body)]))
            if taken := await timed(queue.receive(1, 0)):
                await timed(queue.ack([taken[0].receipt]))
                done += 1

    await asyncio.gather(*(one() for _ in range(TASKS)))
    return f"{done} {longest}"


def main() -> None:
    from tests.bench.child import loop_factory

    logging.basicConfig(level=logging.WARNING)
    job = msgspec.json.decode(sys.argv[1], type=Job)
    with asyncio.Runner(loop_factory=loop_factory(job)) as runner:
        runner.run(serve(job, sys.argv[2]))


if __name__ == "__main__":
    main()
