"""What an app offers to the code that runs it: a worker's main, a web framework, a test. Starts and stops nothing.

A host enters the app, waits for `ended()`, may cut the shutdown short, and asks afterwards what is still running. A
handler or a signal needs none of this.
"""

import asyncio
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

from dawdle._flow.state import State
from dawdle._rules.health import Health

__all__ = ["HostingCalls"]

if TYPE_CHECKING:
    from dawdle._flow.runtime import Runtime


class HostingCalls:
    """The half of an app that its host uses."""

    if TYPE_CHECKING:  # `typing.get_type_hints(Dawdle)` must not need what is not loaded
        _runtime: Runtime | None
    _loop: asyncio.AbstractEventLoop | None
    """The event loop in which the app is entered; None while it is not."""

    async def __aenter__(self) -> object:
        """Enter the app."""
        raise NotImplementedError

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it, after its grace at the latest."""
        raise NotImplementedError

    def health(self) -> Health:
        """Return how the app is at this moment; never raises, and makes no request.

        The app is unhealthy when it has died or is not entered; when credentials, a permission or the queue are
        missing; when no receive has completed for 60 s although one was wanted and there was room; and when sends,
        deletes, releases or lease renewals have failed for 60 s. It is healthy again with the first of these calls that
        succeeds, or when the app has made no such call for 5 minutes.
        """
        if self._runtime is None or self._loop is None:
            return Health(healthy=False, reasons=("the app is not entered",))
        if not self._is_open:
            return Health(healthy=False, reasons=(f"the app is being entered: {State.OPENING.value}",))
        return self._runtime.health()

    async def ended(self) -> None:
        """Return when the app has died or was left."""
        await self._running().ended()

    def end_grace(self) -> None:
        """End the grace of a shutdown now: cancel the handlers that still run. Safe from any thread."""
        # A second signal or another thread may call this at any time, also before the start and after the end.
        if self._runtime is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._runtime.end_grace)

    def running_handlers(self) -> list[str]:
        """Return the names of the handlers that run now; after a shutdown, of those that ignore cancellation."""
        return [] if self._runtime is None else self._runtime.running_handlers()

    def unfinished(self) -> list[str]:
        """Return what still runs after a shutdown: handlers that ignore cancellation, and calls to a queue."""
        return [] if self._runtime is None else self._runtime.unfinished()

    def handlers_that_run(self) -> list[str]:
        """Return what `running_handlers` does. Deprecated since 0.1.0."""
        _warn_of_old_name("handlers_that_run", "running_handlers")
        return self.running_handlers()

    def left_behind(self) -> list[str]:
        """Return what `unfinished` does. Deprecated since 0.1.0."""
        _warn_of_old_name("left_behind", "unfinished")
        return self.unfinished()

    def hurry(self) -> None:
        """Do what `end_grace` does. Deprecated since 0.1.0."""
        _warn_of_old_name("hurry", "end_grace")
        self.end_grace()

    @property
    def _is_open(self) -> bool:
        """Whether there are queues and handlers to ask about. There are none while the queue is being opened."""
        return self._runtime is not None and self._runtime.state.is_open

    def _running(self, *, anywhere: bool = False) -> "Runtime":
        """Return the runtime of an app that is entered, or raise what keeps it from being used."""
        raise NotImplementedError


def _warn_of_old_name(old: str, new: str) -> None:
    """Point the caller of an old name to the new one, at the line that calls it."""
    warnings.warn(
        f"app.{old}() is now app.{new}(); the old name goes in dawdle 0.3.0", DeprecationWarning, stacklevel=3
    )
