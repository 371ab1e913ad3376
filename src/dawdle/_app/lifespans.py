"""Makes the lifespan that an app enters: its own, and that of its host inside it. Enters none itself."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from dawdle._handlers.context import Yielded
from dawdle.errors import require_context_manager

__all__ = ["Lifespan", "lifespan_of"]

Lifespan = Callable[..., AbstractAsyncContextManager[object]]
"""A function that takes the app."""


def lifespan_of(app: object, own: Lifespan | None, host: Lifespan | None) -> AbstractAsyncContextManager[object]:
    """Return what an app enters. Raises `ConfigurationError` for a result that cannot be entered."""
    if host is None:
        return nullcontext() if own is None else _made(own, app)
    return _nested(app, own, host)


@asynccontextmanager
async def _nested(app: object, own: Lifespan | None, host: Lifespan) -> AsyncGenerator[Yielded]:
    async with nullcontext() if own is None else _made(own, app) as first, _made(host, app) as second:
        yield Yielded((first, second))


def _made(lifespan: Lifespan, app: object) -> AbstractAsyncContextManager[object]:
    return require_context_manager(lifespan(app), "lifespan")
