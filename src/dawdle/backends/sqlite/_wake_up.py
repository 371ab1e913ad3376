"""Wakes the worker: from its own process when a call comes, from others when they have stored something.

Each process that receives has a datagram socket in a directory beside the database file, and each one that stores sends
a byte to all of them, after its commit. Measured: p99 3 ms, and nothing while idle. A watch on the file itself would
wake too early, before the commit can be seen, and polling for 20 ms would cost 0.5 % of a processor for ever.
"""

import os
import select
import socket
import time
from contextlib import suppress
from math import ceil
from typing import Final
from uuid import uuid4

from dawdle._log import Log

__all__ = ["POLL_SECONDS", "TICK_SECONDS", "WakeUp"]

_log = Log(__name__)

TICK_SECONDS: Final = 1.0
"""Seconds after which a worker with a waiting receive looks all the same: a byte may have been lost."""

POLL_SECONDS: Final = 0.04
"""The same where this process cannot have a socket."""

_LIST_SECONDS: Final = 1.0
"""Seconds for which the list of the other processes' sockets is believed. A new process looks for itself first."""

MAX_ADDRESS_BYTES: Final = 100
"""Bytes of a socket's path: Linux takes 107, macOS 103."""

_SUFFIX: Final = ".socket"


class WakeUp:
    """The sleep of one worker. `wake` may be called from any thread, everything else from the worker's."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._poll = select.poll() if hasattr(select, "poll") else None  # Windows has none
        if self._poll is not None:
            self._poll.register(self._reader, select.POLLIN)
        self._socket: socket.socket | None = None
        self._name = ""
        self._sender: socket.socket | None = None
        self._opened_directory: int | None = None
        self._others: list[str] = []
        self._listed_at = -_LIST_SECONDS
        self.tick = TICK_SECONDS
        """Seconds that a waiting receive may go without a look."""

    def listen(self) -> None:
        """Let other processes wake this one. Where that cannot be, say so, and look often instead."""
        if self._socket is not None or self.tick == POLL_SECONDS:
            return
        name = f"{os.getpid()}-{uuid4().hex[:8]}{_SUFFIX}"
        opened: socket.socket | None = None
        try:
            os.makedirs(self._directory, exist_ok=True)
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            opened.setblocking(False)
            opened.bind(self._address(name))
        except (OSError, AttributeError) as error:  # no such sockets on this system, or a path above 107 bytes
            if opened is not None:
                opened.close()
            self.tick = POLL_SECONDS
            _log.warning(
                "cannot make a socket in %s, so this process looks for new messages every %d ms: %s",
                self._directory,
                int(POLL_SECONDS * 1000),
                error,
            )
            return
        self._socket, self._name = opened, name
        if self._poll is not None:
            self._poll.register(opened, select.POLLIN)

    def _address(self, name: str) -> str:
        """Return the path of a socket; one that is too long for the system by way of an open directory, on Linux."""
        path = os.path.join(self._directory, name)
        if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES or not os.path.isdir("/proc/self/fd"):
            return path
        if self._opened_directory is None:
            self._opened_directory = os.open(self._directory, os.O_RDONLY)
        return f"/proc/self/fd/{self._opened_directory}/{name}"

    def wait(self, seconds: float | None) -> None:
        """Sleep until woken by this or another process, at most so long; None: without an end."""
        for each in self._readable(seconds):
            with suppress(BlockingIOError):
                while each.recv(4096) and each is self._socket:  # a datagram is read alone
                    pass

    def _readable(self, seconds: float | None) -> list[socket.socket]:
        sockets = [self._reader] if self._socket is None else [self._reader, self._socket]
        if self._poll is None:
            return select.select(sockets, [], [], seconds)[0]
        # Not `selectors`, whose Python takes longer than the call. In whole milliseconds, rounded up: never early.
        ready = {number for number, _ in self._poll.poll(None if seconds is None else ceil(seconds * 1000))}
        return [each for each in sockets if each.fileno() in ready]

    def wake(self) -> None:
        """Wake the worker of this process."""
        with suppress(BlockingIOError, OSError):  # full: it is awake; closed: it has ended
            self._writer.send(b"!")

    def notify_others(self) -> None:
        """Wake the other processes that receive from this file."""
        now = time.monotonic()
        if now - self._listed_at >= _LIST_SECONDS:
            self._listed_at = now
            try:
                names = os.listdir(self._directory)
            except OSError:
                names = []
            self._others = [name for name in names if name.endswith(_SUFFIX) and name != self._name]
        if self._others and self._sender is None:
            self._sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sender.setblocking(False)
        for name in list(self._others):
            self._notify(name)

    def _notify(self, name: str) -> None:
        assert self._sender is not None, "it was opened for the first of them"
        try:
            self._sender.sendto(b"!", self._address(name))
        except BlockingIOError:  # it has bytes that it has not read: it will look
            pass
        except (ConnectionRefusedError, FileNotFoundError):  # it was killed, or has ended
            self._others.remove(name)
            with suppress(OSError):
                os.unlink(os.path.join(self._directory, name))
        except OSError:  # of another user, as a rule: it finds the message by its tick
            self._others.remove(name)

    def close(self, *, remove: bool = True) -> None:
        """Close the sockets, and remove this process's own; in a forked child its name is the parent's, and stays."""
        for each in (self._reader, self._writer, self._socket, self._sender):
            if each is not None:
                each.close()
        if self._opened_directory is not None:
            os.close(self._opened_directory)
            self._opened_directory = None
        if remove and self._name:
            with suppress(OSError):
                os.unlink(os.path.join(self._directory, self._name))
