"""Opens a backend for an app, and refuses one that cannot serve. Decides nothing about messages."""

import asyncio
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from typing import Final

from dawdle.abc import Backend, Identified
from dawdle.errors import ConfigurationError, shown

__all__ = ["identity_of", "open_backend"]

MAX_IDENTITY_CHARACTERS: Final = 200
"""Characters of a queue's identity: each dead letter carries it."""


async def open_backend(stack: AsyncExitStack, name: str, backend: Backend) -> None:
    """Open a backend. Raises `ConfigurationError` for one that is open already, or that cannot serve.

    A backend cannot serve if it can neither delay nor release for later, or has an identity that no letter can carry.
    """
    # Claimed before the first await: a second app that opens the same object is refused before either has connected.
    stack.enter_context(_exclusive_use(name, backend))
    await stack.enter_async_context(backend)
    for behind in (backend.dead_letters, backend.delayed):
        if behind is not None:
            stack.enter_context(_exclusive_use(name, behind))
    delays = backend.limits if backend.delayed is None else backend.delayed.limits
    if not delays.max_delay > 0 and not backend.limits.can_release_later:
        raise ConfigurationError(
            f"the queue {name!r} can neither delay a message nor release one for later, so a retry cannot wait: "
            f"give its backend a second queue that can delay (delayed)"
        )
    identity_of(name, backend)


_in_use: Final[dict[int, tuple[Backend, asyncio.AbstractEventLoop]]] = {}
"""The open backends of this process, by id: a user's own backend may be neither hashable nor weakly referenced."""


@contextmanager
def _exclusive_use(name: str, backend: Backend) -> Generator[None]:
    """Let no other app open a backend in the block."""
    # An app whose loop was closed without a stop never comes to the end of its block. Its claim counts no more: else a
    # test that crashed would take the backend away from all that follow.
    mine = (backend, asyncio.get_running_loop())
    used = _in_use.setdefault(id(backend), mine)
    if used is not mine and not used[1].is_closed():
        raise ConfigurationError(
            f"the queue {name!r} of this app is {backend!r}, which is open in an app already; one object serves one "
            f"app at a time: close that app first, or make a second object for this app"
        )
    _in_use[id(backend)] = mine
    try:
        yield
    finally:
        if _in_use.get(id(backend)) is mine:
            del _in_use[id(backend)]


def identity_of(name: str, backend: Backend) -> str | None:
    """Return a backend's identity, if it has one. Raises `ConfigurationError` for one that no letter can carry."""
    if not isinstance(backend, Identified):
        return None
    identity: object = backend.identity
    if not (isinstance(identity, str) and identity.isascii() and identity.isprintable()) or not (
        0 < len(identity) <= MAX_IDENTITY_CHARACTERS
    ):
        raise ConfigurationError(
            f"the backend of the queue {name!r} has the identity {shown(identity)}, which must be 1 to "
            f"{MAX_IDENTITY_CHARACTERS} printable ASCII characters: see dawdle.abc.Identified"
        )
    return identity
