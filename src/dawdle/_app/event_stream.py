"""What `stream` returns: opened by `async with`, read by `async for`. `_flow.watchers` sees the events."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Generic, Self, TypeVar

from dawdle._flow.watchers import Watcher, Watchers
from dawdle.errors import ConfigurationError

__all__ = ["EventStream"]

E_co = TypeVar("E_co", covariant=True)


class EventStream(Generic[E_co]):
    """The events that `stream` sees. `async with` opens it, once, and `async for` reads it."""

    def __init__(self, watcher: Watcher[E_co], watchers: Callable[[], Watchers], names: str) -> None:
        """Made by `stream` alone."""
        self._watcher = watcher
        self._watchers = watchers
        self._names = names
        self._watch: AbstractContextManager[None] | None = None
        self._left = False

    def __repr__(self) -> str:
        return f"<EventStream of {self._names}, {self.dropped} dropped>"

    @property
    def dropped(self) -> int:
        """How many events were dropped so far, since this reader was slow."""
        return self._watcher.dropped

    async def __aenter__(self) -> Self:
        """Watch from now on."""
        if self._watch is not None:
            raise ConfigurationError("a stream is opened once: call stream() again")
        self._watch = self._watchers().watch(self._watcher)
        self._watch.__enter__()
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Watch no longer."""
        assert self._watch is not None, "it was entered"
        self._watch.__exit__(None, None, None)
        self._left = True

    def __aiter__(self) -> Self:
        """Read it; it is opened by `async with` before, since a loop that is left by `break` could not close it."""
        if self._watch is None or self._left:
            raise ConfigurationError(
                "a stream is read while it is open: write `async with dawdle.stream(…) as events:` around "
                "`async for event in events:`"
            )
        return self

    async def __anext__(self) -> E_co:
        """Return the next event."""
        self.__aiter__()
        event = await self._watcher.next()
        if event is None:
            raise StopAsyncIteration
        return event
