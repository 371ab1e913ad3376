"""The SQLite backend: its options, and the queues that one object opens together. No call is carried out here."""

import os
import re
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Final

import msgspec

from dawdle.abc import Clock, Limits, SystemClock
from dawdle.backends._open_guard import OpenGuard
from dawdle.backends.sqlite._connection import Durability
from dawdle.backends.sqlite._queue import FileOptions, Queue
from dawdle.errors import ConfigurationError, require_bool, shown, to_seconds

__all__ = ["SQLite"]

MAX_BATCH: Final = 100
MAX_BODY_BYTES: Final = 256 << 20
"""The most that `max_body` may be: a batch is in memory at once, and SQLite itself takes a gigabyte."""

MAX_BATCH_BYTES: Final = 8 << 20
"""Bytes of one send, unless one message is larger: another process waits while it is written."""

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_URL: Final = re.compile(r"(?P<scheme>sqlite[a-z0-9+]*)://|file:(?://)?", re.IGNORECASE)


class SQLite(Queue):
    """A durable queue in a SQLite file: for one machine, any number of processes, no server.

    - `path`: the database file, made if it is missing. It may be the database of your own program: all of dawdle's
      tables begin with `dawdle_`. Without it `DAWDLE_SQLITE_PATH`.
    - `name`: the queue within the file, 1 to 64 letters, digits, `_`, `.` and `-`.
    - `lease`: seconds, or a timedelta, that a received message stays hidden without a renewal.
    - `durability`: "full": what is stored survives a power cut. "normal": it survives the end of a process, however
      sudden, but a power cut or a crash of the system may take the last commits.
    - `max_body`: bytes of one message; the default is that of SQS, so that what works here works there.
    - `ordered`: messages of one group are delivered one after another.
    - `dead_letters`: whether the file has a queue for what was given up.
    - `clock`: the time that leases and delays go by, such as `dawdle.testing.ManualClock()`; default: the app's.
    - `allow_network_file_system`: open a file on NFS, SMB and the like all the same. Two machines that use it at the
      same time damage it.

    Use one in one app at a time; a second opening is a `ConfigurationError`. Several may be open on one
    file, with other names or with the same.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        name: str = "default",
        lease: float | timedelta = 60.0,
        durability: Durability = "full",
        max_body: int = 1_048_576,
        ordered: bool = False,
        dead_letters: bool = True,
        clock: Clock | None = None,
        allow_network_file_system: bool = False,
    ) -> None:
        lease = to_seconds(lease, "SQLite takes a lease of", above=True)
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"SQLite takes a name of 1 to 64 letters (A to Z, a to z), digits, '_', '.' and '-', not {shown(name)}"
            )
        if durability not in {"full", "normal"}:
            raise ConfigurationError(f"SQLite takes a durability of 'full' or 'normal', not {shown(durability)}")
        if not isinstance(max_body, int) or isinstance(max_body, bool) or not 1 <= max_body <= MAX_BODY_BYTES:
            raise ConfigurationError(f"SQLite takes a max_body of 1 to {MAX_BODY_BYTES:,}, not {shown(max_body)}")
        limits = Limits(
            max_batch=MAX_BATCH,
            max_body=max_body,
            max_batch_bytes=max(max_body, MAX_BATCH_BYTES),
            max_delay=inf,
            max_wait=inf,
            lease=lease,
            can_release_later=True,
            durable=True,
            shared=True,
            receive_cancellable=True,
        )
        is_ordered = require_bool(ordered, "SQLite takes ordered=,")
        file = FileOptions(
            path=_path_of(path),
            durability=durability,
            allow_network_file_system=require_bool(
                allow_network_file_system, "SQLite takes allow_network_file_system=,"
            ),
            clock=SystemClock() if clock is None else clock,
        )
        guard = OpenGuard()
        self._dead = self._second = None
        if require_bool(dead_letters, "SQLite takes dead_letters=,"):
            # A look at it is exact, so a scan for letters need not wait for some that were missed, as one on SQS must.
            self._dead = Queue(name, "dead letters", file, msgspec.structs.replace(limits, max_wait=0.0), guard)
        if is_ordered:
            self._second = Queue(name, "delayed", file, limits, guard)
            limits = msgspec.structs.replace(limits, ordered=True, max_delay=0.0)
        self._has_own_clock = clock is not None
        super().__init__(name, "", file, limits, guard)

    @property
    def path(self) -> str:
        """The absolute path of its file, which is not there before it is first opened."""
        return self._file.path

    @property
    def clock(self) -> Clock:
        """The time that its leases and delays go by."""
        return self._clock

    def use_clock(self, clock: Clock) -> None:
        """Go by this clock, unless the queue was given one or is open."""
        if not self._has_own_clock and not self._guard.is_open:
            for each in (self, self._dead, self._second):
                if each is not None:
                    each.go_by(clock)

    @property
    def dead_letters(self) -> Queue | None:
        """The queue that keeps what was given up, in the same file."""
        return self._dead

    @property
    def delayed(self) -> Queue | None:
        """The queue for delayed messages, in the same file, where this one is ordered; else None."""
        return self._second


def _path_of(path: str | os.PathLike[str] | None) -> str:
    given: object = os.environ.get("DAWDLE_SQLITE_PATH", "").strip() if path is None else path
    if not given:
        raise ConfigurationError(
            "SQLite needs the path of its database file: SQLite('app.db'), or set DAWDLE_SQLITE_PATH"
        )
    if not isinstance(given, (str, os.PathLike)):
        raise ConfigurationError(f"SQLite takes a path, such as 'app.db', not {shown(given)}")
    text = os.fspath(given)
    url = _URL.match(text) if isinstance(text, str) else None
    if url is not None:
        # Of a URL with three slashes, SQLAlchemy's, the path is relative; of `file:///` it is not.
        file = text[url.end() :].partition("?")[0]
        file = file.removeprefix("/") if url["scheme"] else file
        raise ConfigurationError(f"SQLite takes a path, not a URL: write {file or 'app.db'!r}")
    if not isinstance(text, str) or text == ":memory:":
        raise ConfigurationError(
            f"SQLite takes the path of a file, such as 'app.db', not {shown(text)}: for a queue in memory use "
            f"dawdle.backends.memory.Memory()"
        )
    if os.path.isdir(text):
        raise ConfigurationError(f"{text} is a directory: name a file in it")
    return str(Path(text).absolute())
