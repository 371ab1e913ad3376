"""Three processes, three roles: who ran what. Run it: python -m roles.demo."""

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from orders.programs import HOST, START, free_port, is_open, printed_by, running

PATIENCE = 60
"""Seconds in which everything must have run."""


class Runs:
    """Which handlers ran, in which worker and from which queue: how often."""

    def __init__(self) -> None:
        self.by_role: Counter[tuple[str, str, str]] = Counter()
        self._changed = asyncio.Condition()

    async def read(self, worker: Process, role: str) -> None:
        async for line in printed_by(worker):
            handler, _, _, queue = line.decode().split()
            async with self._changed:
                self.by_role[role, handler, queue] += 1
                self._changed.notify_all()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.by_role.total() >= count)


async def demo(videos: int, folder: Path) -> bool:
    """Run the three, upload videos, print who ran what; return whether each did its part and nothing else."""
    runs = Runs()
    environment = {**os.environ, "DAWDLE_SQLITE_PATH": str(folder / "roles.db"), "NO_PROXY": HOST}
    async with AsyncExitStack() as stack:
        readers = await stack.enter_async_context(asyncio.TaskGroup())
        for role in ("video", "default"):
            starting = running("roles.worker", role, environment=environment, stdout=PIPE)
            worker = await stack.enter_async_context(starting)
            readers.create_task(runs.read(worker, role))
        port = free_port()
        command = ("uvicorn", "roles.api:web", "--host", HOST, "--port", str(port), "--log-level", "warning")
        web = await stack.enter_async_context(running(*command, environment=environment))
        async with asyncio.timeout(START):
            while not await is_open(port):
                if web.returncode is not None:
                    raise SystemExit("the web app did not start, and says above why")
                await asyncio.sleep(0.05)
        async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}", trust_env=False) as http:
            for number in range(videos):
                answer = await http.post("/videos", json={"video_id": f"v-{number}"})
                answer.raise_for_status()
        await runs.until(3 * videos)
    print(f"{'the worker of':<16}{'ran':<12}{'from queue':<12}times")
    for (role, handler, queue), times in sorted(runs.by_role.items()):
        print(f"{role:<16}{handler:<12}{queue:<12}{times}")
    return runs.by_role == {
        ("default", "thank", "default"): videos,
        ("video", "encode", "video"): videos,
        ("default", "publish", "default"): videos,
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--videos", type=int, default=20, metavar="N", help="how many; 20 without it")
    with TemporaryDirectory() as folder:
        sys.exit(not asyncio.run(demo(options.parse_args().videos, Path(folder))))


if __name__ == "__main__":
    main()
