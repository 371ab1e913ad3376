"""Servers that tests start: free ports on loopback, a bounded start, an end by process id."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

MINISTACK = "ministack==1.5.33"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the block ends; yields its URL once it accepts connections."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            for _ in range(300):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if process.poll() is not None:
                    break
                time.sleep(0.1)
            else:
                pytest.fail(f"{command[0]} does not answer on port {port}")
            if process.poll() is not None:
                said.seek(0)
                pytest.fail(f"{command[0]} ended with {process.returncode}: {said.read().decode()[-2000:]}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def venv_with(package: str, variable: str, directory: str, command: str) -> Path:
    """Return a command from a virtual environment of its own; skips, and says why, where it cannot be made."""
    home = Path(os.environ.get(variable) or Path(__file__).parents[1] / ".nox" / directory)
    found = home / "bin" / command
    if not found.exists():
        for step in ([sys.executable, "-m", "venv", home], [home / "bin" / "pip", "install", "--quiet", package]):
            done = subprocess.run(step, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"{package} cannot be installed into {home}: {done.stderr.strip()[-300:]}")
    return found


@contextmanager
def ministack() -> Iterator[str]:
    """Run the witness, an SQS server that nobody here wrote, and yield its URL."""
    command = venv_with(MINISTACK, "DAWDLE_MINISTACK_VENV", "ministack", "ministack")
    port = free_port()
    environment = dict(os.environ) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "LOG_LEVEL": "ERROR",
        "SERVICES": "sqs,sns,s3",
    }
    with running([str(command)], port, environment) as url:
        yield url
