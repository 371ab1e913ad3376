"""Who is measured, each in a file of its own. One that is not installed is left out, and the report says so."""

from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import ClassVar, Final, Protocol, Self

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
}
"""Where each contestant is, by its name in the rows and what it runs on."""


def contestant(name: str, where: str) -> type[Contestant]:
    """Return a contestant's class. Raises ImportError where its package is missing."""
    module = MODULES[name, "memory" if where == "memory" else "sqs"]
    found: type[Contestant] = import_module(f"tests.bench.contestants.{module}").Contestant
    return found
