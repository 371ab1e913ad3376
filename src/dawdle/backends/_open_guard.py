"""Lets one app at a time open a backend. Shared by all backends; opens nothing itself."""

import asyncio

from dawdle.errors import ConfigurationError

__all__ = ["OpenGuard"]


class OpenGuard:
    """Remembers in which event loop a queue is open. Its dead-letter and delay queues share the guard.

    A loop that was closed has closed the connections with it, although the app was never left: a test that failed, or
    `asyncio.run` that was interrupted. The queue may be opened again then.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def is_open(self) -> bool:
        """Whether it is open, in a loop that may still use it."""
        return self._loop is not None and not self._loop.is_closed()

    def mark_open(self, what: object) -> None:
        """Note that the backend `what` is being opened. Raises `ConfigurationError` if it is open already."""
        if self.is_open:
            raise ConfigurationError(
                f"{what!r} is already open, and a backend object serves one app at a time: leave the app that opened "
                f"it, or create another backend object for this app"
            )
        self._loop = asyncio.get_running_loop()

    def mark_closed(self) -> None:
        """Note that it is closed and may be opened again."""
        self._loop = None
