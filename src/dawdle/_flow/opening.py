"""How an app opens a backend, and what it refuses before anything runs on it. Decides nothing about messages."""

from contextlib import AsyncExitStack
from typing import Final

from dawdle.abc import Backend, Identified
from dawdle.errors import ConfigurationError, shown

__all__ = ["identity_of", "open_backend"]

MAX_IDENTITY: Final = 200
"""Characters of a queue's identity: each letter carries it."""


async def open_backend(stack: AsyncExitStack, name: str, backend: Backend) -> None:
    """Open a backend. Raises `ConfigurationError` for one that cannot make a message wait, or has no good identity."""
    await stack.enter_async_context(backend)
    limits = backend.limits
    if not limits.max_delay > 0 and not limits.can_release_later and backend.delayed is None:
        raise ConfigurationError(
            f"the queue {name!r} can neither delay a message nor release one for later, so no retry could wait: "
            f"give it a second queue that can (delayed)"
        )
    identity_of(name, backend)


def identity_of(name: str, backend: Backend) -> str | None:
    """Return a backend's identity, if it has one. Raises `ConfigurationError` for one that no letter can carry."""
    if not isinstance(backend, Identified):
        return None
    identity: object = backend.identity
    if not (isinstance(identity, str) and identity.isascii() and identity.isprintable()) or not (
        0 < len(identity) <= MAX_IDENTITY
    ):
        raise ConfigurationError(
            f"the backend of the queue {name!r} has the identity {shown(identity)}, and it is 1 to {MAX_IDENTITY} "
            f"printable ASCII characters: see dawdle.abc.Identified"
        )
    return identity
