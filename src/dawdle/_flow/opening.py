"""Opens the backends of an app, and refuses those that cannot serve. Decides nothing about messages."""

import asyncio
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Final

from dawdle.abc import Backend, Identified, Located
from dawdle.errors import BackendError, ConfigurationError, shown

__all__ = ["identity_of", "open_backends"]

MAX_IDENTITY_CHARACTERS: Final = 200
"""Characters of a queue's identity: each dead letter carries it."""


@asynccontextmanager
async def open_backends(backends: Mapping[str, Backend]) -> AsyncGenerator[None]:
    """Keep backends open in the block. Several are opened, and closed, side by side.

    If one cannot be opened, the others are closed, and its error is raised: `ConfigurationError` for one that is open
    already, that cannot serve, or that is the same queue as another.
    """
    if len(backends) == 1:
        async with AsyncExitStack() as stack:
            for name, backend in backends.items():
                await _open(stack, name, backend)
            yield
        return
    opening = _Opening(len(backends))
    # A task for each: a backend may hold a task group, which must be left in the task in which it was entered.
    async with asyncio.TaskGroup() as group:
        for name, backend in backends.items():
            group.create_task(opening.hold_open(name, backend), name=f"dawdle: queue {name}")
        await opening.ended.wait()
        if opening.error is not None:
            raise opening.error
        _require_apart(backends)
        try:
            yield
        finally:
            opening.closing.set()


class _Opening:
    """Several backends that are being opened: how many are not open yet, and the first error."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self.ended = asyncio.Event()
        self.error: BaseException | None = None
        self.closing = asyncio.Event()

    async def hold_open(self, name: str, backend: Backend) -> None:
        """Open one backend, and close it when all are to be closed."""
        async with AsyncExitStack() as stack:
            try:
                await _open(stack, name, backend)
            except BaseException as error:
                # It is raised where all are opened, so two at once need no group. A cancellation ends that wait too:
                # the task group takes no notice of a child that was cancelled.
                self.error = self.error or error
                self.ended.set()
                if isinstance(error, Exception):
                    return
                raise
            self._missing -= 1
            if not self._missing:
                self.ended.set()
            await self.closing.wait()


def _require_apart(backends: Mapping[str, Backend]) -> None:
    """Raise `ConfigurationError` if two backends are one queue: each would receive what is meant for the other."""
    known: dict[tuple[str, str | None], str] = {}
    for name, backend in backends.items():
        identity = identity_of(name, backend)
        if identity is not None:
            other = known.setdefault((identity, backend.location if isinstance(backend, Located) else None), name)
            if other != name:
                raise ConfigurationError(
                    f"the queues {other!r} and {name!r} of this app are the same queue, {identity}: give it one name"
                )


async def _open(stack: AsyncExitStack, name: str, backend: Backend) -> None:
    """Open a backend. Raises `ConfigurationError` for one that is open already, or that cannot serve.

    A backend cannot serve if it can neither delay nor release for later, or has an identity that no letter can carry.
    Raises `BackendError` for one that is cancelled, though this task is not.
    """
    # Claimed before the first await: a second app that opens the same object is refused before either has connected.
    stack.enter_context(_exclusive_use(name, backend))
    try:
        await stack.enter_async_context(backend)
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BackendError(
            f"could not open the queue {name!r}: it was cancelled by its own backend, {backend!r}, whose connection "
            f"may have been closed meanwhile"
        ) from error
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
