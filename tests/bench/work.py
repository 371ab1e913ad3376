"""What is measured, as data: the event, the work, a job for one process, and what that process says."""

from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec

Where = Literal["stub", "server", "memory", "sqlite", "file"]
"""A stub of SQS, the SQS test server of dawdle, no queue outside the process, a SQLite file, or one without an app."""


class Order(msgspec.Struct, frozen=True):
    """The event of every measurement."""

    number: int
    sent: float
    """When it was due, by `time.perf_counter`. One process signals and handles, so it is one clock."""

    text: str
    """As long as the work says."""


Handler = Callable[[Order], Awaitable[None]]


class Work(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How much of what. One of these is varied at a time."""

    seconds: float = 1.0
    """Roughly, of one measurement; how many events that is, the warm-up tells."""

    in_flight: int = 100
    """Events under way at once, where the measure holds a number of them."""

    concurrency: int = 100
    """Messages that the contestant may have in flight at once."""

    body: int = 200
    """Bytes of the event's own text; each contestant's envelope comes on top."""

    handlers: int = 1
    registered: int = 0
    """More handlers, for other types."""

    waiting: int = 0
    """Events that are delayed by an hour."""

    backlog: int = 0
    """Events that are due, and wait in the queue before the measurement begins."""

    signalers: int = 200
    uvloop: bool = True


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement, which a process of its own makes."""

    contestant: str
    measure: str
    where: Where
    work: Work = Work()
    address: str = ""
    """`http://host:port` of the server; an empty directory for a file; empty in memory."""

    queue: str = "bench"

    @property
    def queue_url(self) -> str:
        """The URL of the queue."""
        return f"{self.address}/000000000000/{self.queue}"


class Result(msgspec.Struct, kw_only=True):
    """What one process found. What a measure does not give is None."""

    events: int = 0
    cpu_us: float | None = None
    """Microseconds of CPU per event, of all threads."""

    rate: float | None = None
    """Events per second of the wall clock."""

    requests: dict[str, int] = {}
    entries: dict[str, int] = {}
    latency: dict[str, list[float]] = {}
    """By load: p50 and p99, in milliseconds."""

    bytes: float | None = None
    """Of memory per event, beyond its body."""

    milliseconds: float | None = None
    syncs: float | None = None
    """Of a file to the disk, per event; None where they are not counted."""

    figures: dict[str, float] = {}
    """What only one measure gives."""


class Setting(msgspec.Struct, frozen=True):
    """What a contestant is given."""

    job: Job
    handlers: tuple[Handler, ...]
    """All want the same event. A contestant that cannot do that has `one_handler`."""
