"""Who is measured, each in a file of its own. One that is not installed is left out, and the report says so."""

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, ClassVar, Final, Protocol, Self

from tests.bench.work import Order, Setting


class Contestant(Protocol):
    """What a contestant can do. The measurements know nothing else of it."""

    package: ClassVar[str]
    """Whose version is reported."""

    def __init__(self, setting: Setting) -> None: ...

    async def __aenter__(self) -> Self:
        """Open what signaling needs."""
        ...

    async def __aexit__(self, *_: object) -> None: ...

    async def signal(self, event: Order) -> None:
        """Signal one event, as a request handler of a web app would; others do so at the same time."""
        ...

    async def signal_many(self, events: list[Order]) -> None:
        """Signal events at once, in the fewest requests that the contestant can."""
        ...

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Handle events until the block is left."""
        ...


class FileQueue(Protocol):
    """A queue in a file on this machine, by its own calls: what a contestant of `file` can do."""

    package: ClassVar[str]

    def __init__(self, setting: Setting) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def fill(self, count: int, *, delayed: bool = False) -> None:
        """Store so many messages, as fast as it can."""
        ...

    async def run(self, until: float) -> int:
        """Put, get and ack one message, again and again until that time of `perf_counter`; return how many."""
        ...


MODULES: Final = {
    ("dawdle", "memory"): "dawdle_memory",
    ("dawdle", "sqs"): "dawdle_sqs",
    ("fanferro", "memory"): "fanferro_memory",
    ("fanferro", "sqs"): "fanferro_sqs",
    ("taskiq", "memory"): "taskiq_memory",
    ("taskiq", "sqs"): "taskiq_sqs",
    ("aiobotocore", "sqs"): "aiobotocore_sqs",
    ("pyee", "memory"): "pyee_memory",
    ("bubus", "memory"): "bubus_memory",
    ("bare task", "memory"): "task_memory",
    ("OpenTelemetry, no provider", "memory"): "dawdle_telemetry:NoOp",
    ("OpenTelemetry, not sampled", "memory"): "dawdle_telemetry:Unsampled",
    ("OpenTelemetry, all sampled", "memory"): "dawdle_telemetry:Sampled",
    ("OpenTelemetry, metrics", "memory"): "dawdle_telemetry:Metered",
    ("Prometheus", "memory"): "dawdle_telemetry:Prometheus",
    ("dawdle", "sqlite"): "dawdle_sqlite",
    ("dawdle in memory", "sqlite"): "dawdle_memory",
    ("dawdle", "file"): "dawdle_file",
    ("dawdle one by one", "file"): "dawdle_one_by_one_file",
    ("bare sqlite3", "file"): "bare_file",
    ("huey", "file"): "huey_file",
    ("persist-queue", "file"): "persistqueue_file",
    ("simplebroker", "file"): "simplebroker_file",
    ("localqueue", "file"): "localqueue_file",
    ("localqueue, not synced", "file"): "localqueue_relaxed_file",
    ("litequeue, not synced", "file"): "litequeue_file",
    ("litequeue made to sync", "file"): "litequeue_full_file",
}
"""Where each contestant is, by its name in the rows and what it runs on."""


def kind_of(where: str) -> str:
    """Return what a contestant runs on: SQS has two servers here."""
    return where if where in {"memory", "sqlite", "file"} else "sqs"


def contestant(name: str, where: str) -> type[Any]:
    """Return a contestant's class, a `FileQueue` for `file`. Raises ImportError where its package is missing."""
    module, _, name_in_it = MODULES[name, kind_of(where)].partition(":")
    found: type[Any] = getattr(import_module(f"tests.bench.contestants.{module}"), name_in_it or "Contestant")
    return found
