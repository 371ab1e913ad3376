"""One measurement in a fresh interpreter: reads a job from its argument, writes a result as its last line.

python -m tests.bench.child '{"contestant": "dawdle", "measure": "send_each", "where": "stub", …}'
"""

import asyncio
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import msgspec

from tests.bench.work import Job


def main() -> None:
    """Measure, say what was found, and end at once: a long poll under way would hold an orderly end for seconds."""
    from tests.bench.measures import MEASURES

    job = msgspec.json.decode(sys.argv[1], type=Job)
    logging.basicConfig(level=logging.WARNING)
    with asyncio.Runner(loop_factory=loop_factory(job)) as runner:
        result = runner.run(MEASURES[job.measure](job))
        print(msgspec.json.encode(result).decode(), flush=True)
        os._exit(0)


def loop_factory(job: Job) -> Callable[[], asyncio.AbstractEventLoop]:
    """Return what makes the loop that the job asks for, or asyncio's own where uvloop is not installed."""
    if job.work.uvloop:
        with suppress(ImportError):
            import uvloop

            return uvloop.new_event_loop
    return asyncio.new_event_loop


if __name__ == "__main__":
    main()
