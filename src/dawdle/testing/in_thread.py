"""Calls of a `TestApp` from another thread than that of its event loop. Each blocks until the app has done it."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Final, Protocol, TypeVar

from dawdle.errors import ConfigurationError

__all__ = ["NOT_ENTERED", "InThread"]

R = TypeVar("R")

NOT_ENTERED: Final = (
    "the test's app is not entered: in a test that is not async a web app enters it in its lifespan, inside "
    "`with TestClient(web) as client:`; else make the test `async def`"
)


class App(Protocol):
    """The part of a `TestApp` that is called from a thread."""

    async def idle(self) -> None:
        """Do what is due."""

    async def advance(
        self, seconds: float | timedelta = 0, *, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Let time pass."""

    async def signal(self, event: object, *, delay: float | timedelta | None = None) -> str:
        """Store an event."""
        ...


class InThread:
    """What `app.from_thread` is: for a test that is not async, while a web app's test client has entered the app."""

    def __init__(self, app: App, loop: Callable[[], asyncio.AbstractEventLoop | None]) -> None:
        self._app = app
        self._loop = loop

    def idle(self) -> None:
        """Return when all is done that is due, and raise what a handler raised, as `TestApp.idle`."""
        self._call(self._app.idle())

    def advance(self, seconds: float | timedelta = 0, *, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass, as `TestApp.advance`."""
        self._call(self._app.advance(seconds, minutes=minutes, hours=hours, days=days))

    def signal(self, event: object, *, delay: float | timedelta | None = None) -> str:
        """Signal an event and return its id when it is stored."""
        return self._call(self._app.signal(event, delay=delay))

    def _call(self, coroutine: Coroutine[object, object, R]) -> R:
        loop = self._loop()
        if loop is None:
            coroutine.close()
            raise ConfigurationError(NOT_ENTERED)
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is loop:
            coroutine.close()
            raise ConfigurationError("this is the event loop of the app: await app.idle() or app.advance(…) here")
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()
