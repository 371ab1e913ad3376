"""How an app opens a backend, and what it refuses before anything runs on it. Decides nothing about messages."""

from contextlib import AsyncExitStack

from dawdle.abc import Backend
from dawdle.errors import ConfigurationError

__all__ = ["open_backend"]


async def open_backend(stack: AsyncExitStack, name: str, backend: Backend) -> None:
    """Open a backend. Raises `ConfigurationError` for one that cannot make a message wait."""
    await stack.enter_async_context(backend)
    limits = backend.limits
    if not limits.max_delay > 0 and not limits.can_release_later and backend.delayed is None:
        raise ConfigurationError(
            f"the queue {name!r} can neither delay a message nor release one for later, so no retry could wait: "
            f"give it a second queue that can (delayed)"
        )
