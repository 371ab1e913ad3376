"""Looks into SQLite files for another process: a request a line on stdin, its answer a line on stdout, both JSON.

Each file is opened for one look, and closed again: that makes room for a last process that closes it, as in real use.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from dawdle.abc import Outgoing
from dawdle.backends.sqlite import SQLite


async def answer(asked: Mapping[str, Any]) -> Any:
    async with SQLite(asked["path"], lease=60) as queue:
        match asked["do"]:
            case "make":
                return None
            case "send":
                return [str(fault) for fault in await queue.send([Outgoing(asked["body"].encode())]) if fault]
            case "count":
                counts = await queue.count()
                return counts.waiting, counts.in_flight, counts.delayed
            case "letters":
                dead, bodies = queue.dead_letters, []
                assert dead is not None, "it was opened with one"
                while letters := await dead.receive(dead.limits.max_batch, 0):
                    bodies += [letter.body.decode() for letter in letters]
                    await dead.ack([letter.receipt for letter in letters])
                return bodies
    raise AssertionError(asked)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(asyncio.run(answer(json.loads(line)))), flush=True)
