"""Servers that tests start: free ports on loopback, a bounded start, an end by process id."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

if sys.platform != "win32":
    import fcntl

MINISTACK = "ministack==1.5.33"

START_SECONDS = 60
"""A server that does not listen by then has failed; on a busy machine an interpreter takes ten to start."""


def free_port() -> int:
    """Return a port that is free, and below those that outgoing connections get: none of them takes it meanwhile."""
    for _ in range(1000):
        port = 20_000 + secrets.randbelow(12_000)  # not `random`, which tests seed: two processes would agree
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port from 20,000 to 32,000 is free")


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the block ends; yields its URL once it accepts connections."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START_SECONDS
            while process.poll() is None:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if time.monotonic() > end:
                    pytest.fail(f"{command[0]} does not answer on port {port}")
                time.sleep(0.05)
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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of the tests out until the block ends; Windows has no such lock, and no need of it here."""
    with path.open("w") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def venv_with(package: str, variable: str, directory: str, command: str) -> Path:
    """Return a command from a virtual environment of its own; skips, and says why, where it cannot be made.

    The environment is kept, and made by uv where uv is.
    """
    home = Path(os.environ.get(variable) or Path(__file__).parents[1] / ".nox" / directory)
    home.parent.mkdir(parents=True, exist_ok=True)
    found = home / "bin" / command
    with locked(home.with_name(f"{home.name}.lock")):
        if not found.exists():
            if (home / "pyvenv.cfg").exists():  # it was not finished
                shutil.rmtree(home)
            make(home, package)
    return found


def make(home: Path, package: str) -> None:
    uv = shutil.which(os.environ.get("UV", "uv"))
    with_uv = ([uv, "venv", "--python", sys.executable, home], [uv, "pip", "install", "--python", home, package])
    with_pip = ([sys.executable, "-m", "venv", home], [home / "bin" / "pip", "install", "--quiet", package])
    for step in with_uv if uv else with_pip:
        done = subprocess.run(step, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            pytest.skip(f"{package} cannot be installed into {home}: {done.stderr.strip()[-300:]}")


@contextmanager
def ministack() -> Iterator[str]:
    """Run ministack, an independent SQS emulator, and yield its URL."""
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
