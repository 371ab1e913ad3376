"""Servers that tests start: free ports on loopback, a bounded start, an end by process id."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import free_port, listens

if sys.platform != "win32":
    import fcntl

MINISTACK = "ministack==1.5.33"

START_SECONDS = 60
"""A server that does not listen by then has failed; on a busy machine an interpreter takes ten to start."""


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str]) -> Iterator[str]:
    """Run a server until the block ends; yields its URL once it accepts connections."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            if not listens(port, process, START_SECONDS):
                if process.poll() is None:
                    pytest.fail(f"{command[0]} does not answer on port {port}")
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
def ministack(services: str = "sqs,sns,s3") -> Iterator[str]:
    """Run ministack, an independent emulator of AWS, and yield its URL."""
    command = venv_with(MINISTACK, "DAWDLE_MINISTACK_VENV", "ministack", "ministack")
    port = free_port()
    environment = dict(os.environ) | {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "LOG_LEVEL": "ERROR",
        "SERVICES": services,
    }
    with running([str(command)], port, environment) as url:
        yield url
