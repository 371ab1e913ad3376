"""Have files compressed by a worker, wherever it runs. Run it: python -m archive.send FILE..."""

import asyncio
import sys
from pathlib import Path

import dawdle
from archive.jobs import compress


async def main(paths: list[str]) -> None:
    async with dawdle.Dawdle(start_listener=False):
        for path in paths:
            print(path, await dawdle.call(compress, path, level=9))


if __name__ == "__main__":
    asyncio.run(main([str(Path(path).resolve()) for path in sys.argv[1:]]))
