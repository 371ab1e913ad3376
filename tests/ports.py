"""Ports of servers that tests and measurements start: a free one, and the wait until something listens on it."""

import secrets
import socket
import subprocess
import time
from contextlib import suppress

__all__ = ["free_port", "listens"]


def free_port() -> int:
    """Return a port that is free, and below those that outgoing connections get: none of them takes it meanwhile."""
    for _ in range(1000):
        port = 20_000 + secrets.randbelow(12_000)  # not `random`, which tests seed: two processes would agree
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port from 20,000 to 32,000 is free")


def listens(port: int, process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait until a process accepts connections; False if it has not within so many seconds, or has ended."""
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() <= end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False
