"""Whether a backend is open: one object serves one app at a time. Opens nothing itself."""

import asyncio

from dawdle.errors import ConfigurationError

__all__ = ["OpenGuard"]


class OpenGuard:
    """The event loop in which a queue and those behind it are open. A loop that is closed has closed them too."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def mark_open(self, what: object) -> None:
        """Take note that `what` is being opened. Raises `ConfigurationError` if it is open."""
        if self._loop is not None and not self._loop.is_closed():
            raise ConfigurationError(
                f"{what!r} is open already, and one object serves one app at a time: leave the app that has it, or "
                f"make another object for this one"
            )
        self._loop = asyncio.get_running_loop()

    def mark_closed(self) -> None:
        """Take note that it is closed, and may be opened again."""
        self._loop = None
