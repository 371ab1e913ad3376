"""The commands of the README that put the quickstart's queue into a file, as they are printed there."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request

import pytest
from tests.examples.test_examples import EXAMPLES, answer_of
from tests.ports import free_port

pytestmark = pytest.mark.once

README = EXAMPLES.parent / "README.md"


def started(export, command, folder, *more):
    here = {name: value for name, value in os.environ.items() if not name.startswith("DAWDLE_")}
    here |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{here['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), here.get("PYTHONPATH", "")]),
        "PYTHONUNBUFFERED": "1",
    }
    # `exec` needs the command first: what is set before it goes to env.
    script = f"{export}\nexec env {command} {' '.join(more)}"
    return subprocess.Popen(["sh", "-c", script], cwd=folder, env=here, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_an_order_waits_in_the_file_until_a_worker_is_started(tmp_path):
    block = README.read_text("utf-8").partition("```sh\nexport DAWDLE_BACKEND=sqlite ")
    lines = "".join(block[1:]).removeprefix("```sh\n").partition("```")[0].splitlines()
    export, web, worker = [line.partition("  #")[0] for line in lines if line]
    port = free_port()
    order = Request(f"http://127.0.0.1:{port}/orders", b'{"order_id": "o-1", "total": 100}')
    order.add_header("content-type", "application/json")
    with started(export, web, tmp_path, "--port", str(port), "--log-level", "warning") as process:
        try:
            status, answer = answer_of(order, process)
            assert (status, list(answer)) == (202, ["event_id"])
        finally:
            process.terminate()
        assert process.stdout.read() == ""
    with started(export, worker, tmp_path) as process:
        try:
            printed = [process.stdout.readline() for _ in range(2)]
            assert printed == ["receipt for o-1: 100 EUR\n", "parcel for o-1, attempt 2\n"]
        finally:
            process.terminate()
        assert process.wait(20) == 0
