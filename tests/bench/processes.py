"""The processes of one measurement: a server that stays on the last core, and the client. Ended by process id.

The client may use all cores. Kept on one, a client with threads of its own, such as fanferro, costs a fifth more CPU
per event and does half as many events per second.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests.bench import sync_counter
from tests.bench.work import Job, Result, Where
from tests.ports import free_port, listens

ROOT = Path(__file__).parents[2]
START_SECONDS = 30
MEASURE_SECONDS = 180
"""After which a measurement is given up."""

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
ENVIRONMENT = {
    # Without its bytecode, what is imported is compiled each time, and that would be measured.
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class MeasurementError(Exception):
    """A measurement that ended without a result."""


@contextmanager
def server(where: Where, queue: str) -> Generator[str]:
    """Run a server of its own for one measurement; yields its address, which is empty in memory.

    A file needs none: its address is a directory of its own, in the checkout, since `/tmp` may be memory.
    """
    if where == "memory":
        yield ""
        return
    if where in {"sqlite", "file"}:
        with tempfile.TemporaryDirectory(prefix=".bench-", dir=ROOT, ignore_cleanup_errors=True) as directory:
            yield directory
        return
    port = free_port()
    module = ["tests.bench.stub"] if where == "stub" else ["dawdle.testing.sqs", "--queue", queue]
    command = [sys.executable, "-m", *module, "--port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        if len(CORES) > 1:
            os.sched_setaffinity(process.pid, {CORES[-1]})
        if not listens(port, process, START_SECONDS):
            raise MeasurementError(f"{process.args!r} does not answer on port {port}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def measure(job: Job) -> Result:
    """Make one measurement. Raises MeasurementError with what the process said."""
    with server(job.where, job.queue) as address:
        job = msgspec.structs.replace(job, address=address)
        command = [sys.executable, "-m", "tests.bench.child", msgspec.json.encode(job).decode()]
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(job.where), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            said, errors = process.communicate(timeout=MEASURE_SECONDS)
        except BaseException as error:  # also Ctrl-C and the end of a test: nothing is left running
            process.kill()
            _, errors = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                raise MeasurementError(
                    f"{job.contestant}, {job.measure}: no result in time\n{errors[-2000:]}"
                ) from None
            raise
        if process.returncode or not said:
            raise MeasurementError(f"{job.contestant}, {job.measure}: {errors[-2000:]}")
        return msgspec.json.decode(said.splitlines()[-1], type=Result)


def environment(where: Where) -> dict[str, str]:
    """Return the environment of a measurement: on a file its syncs are counted, where that can be."""
    library = sync_counter.library() if where in {"sqlite", "file"} else None
    return ENVIRONMENT if library is None else {**ENVIRONMENT, "LD_PRELOAD": library}
