"""One picture: what `dawdle top` knows at one moment, as structs. A line of `--json` is one; a frame shows one."""

import msgspec

__all__ = ["HandlerRow", "Picture", "QueueRow", "WorkerRow"]


class QueueRow(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. None: not known. Ages and rates are in seconds."""

    name: str
    system: str
    waiting: int | None
    delayed: int | None
    in_flight: int | None
    oldest: float | None
    signaled_per_second: float | None
    received_per_second: float | None
    dead_letters: int | None
    requests_per_event: float | None
    empty_receives_per_minute: float | None
    dollars_per_month: float | None
    error: str | None


class HandlerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One handler, on all workers that were asked. Totals are since each of them started; the rest is recent."""

    name: str
    processes: int
    rate: float | None
    running: int
    waited: float | None
    p50: float | None
    p99: float | None
    runs: int
    failures: int
    recent_failures: int
    retries: int
    dead_letters: int


class WorkerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One app of a worker process, or a URL that did not answer."""

    url: str
    error: str | None = None
    app: str = ""
    host: str = ""
    pid: int = 0
    uptime: float | None = None
    rss: int = 0
    cpu: float | None = None
    """Share of one CPU since it started."""

    healthy: bool = True
    reasons: tuple[str, ...] = ()


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shown, and one line of `--json`."""

    time: float
    """Epoch seconds."""

    app: str | None
    queues: tuple[QueueRow, ...]
    handlers: tuple[HandlerRow, ...] | None
    """None: no worker was asked, so they cannot be known."""

    workers: tuple[WorkerRow, ...]
    own_dollars_per_month: float | None
    """What it costs to let this command run."""

    notes: tuple[str, ...]
