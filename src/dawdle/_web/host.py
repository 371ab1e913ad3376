"""Enters an app in the lifespan of a web app. Knows no framework: a web app is whatever the framework hands in."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from inspect import signature
from typing import TypeVar, cast

from dawdle import Dawdle
from dawdle._log import Log
from dawdle._web.answers import answer_to
from dawdle._web.monitor import monitored
from dawdle.errors import ConfigurationError, DawdleError, require_context_manager, shown

__all__ = ["AppSource", "Own", "checked", "hosted", "log_answer"]

_log = Log(__name__)

Y = TypeVar("Y")

AppSource = Dawdle | Callable[[], Dawdle] | None
"""An app, or a function that makes one at each start of the web app; None: `Dawdle()`."""

Own = Callable[..., AbstractAsyncContextManager[Y]]
"""A lifespan of the user's, which takes the web app."""


@asynccontextmanager
async def hosted(
    make: Callable[[], Dawdle], web: object, own: Own[Y] | None = None
) -> AsyncGenerator[tuple[Dawdle, Y | None]]:
    """Keep an app entered in the block; yield it, and what the user's own lifespan yielded.

    The user's own lifespan is entered inside the app: when the queue is open, and before the first handler runs. It is
    left when the last handler has ended. Handlers find by `ctx.state(Type)` what it yields, and the web app. Raises
    `ConfigurationError` for an app or a lifespan that is none.
    """
    app: object = make()
    if not isinstance(app, Dawdle):
        raise ConfigurationError(f"the function that makes the app returned {shown(app)}, which is no dawdle.Dawdle")
    yielded: Y | None = None

    @asynccontextmanager
    async def lifespan(_: Dawdle) -> AsyncGenerator[Mapping[str, object]]:
        nonlocal yielded
        async with monitored(app), nullcontext() if own is None else _made(own, web) as yielded:
            state: object = yielded
            values = cast("Mapping[str, object]", state) if isinstance(state, Mapping) else dict[str, object]()
            yield {**values, "what own= yields": state, "the web app": web}

    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(app.with_lifespan(lifespan))
        except DawdleError as error:
            _log.error("%s. So the web app does not start", error)
            raise
        yield app, yielded


def checked(source: AppSource) -> Callable[[], Dawdle]:
    """Return a function that returns the app. Raises `ConfigurationError` for anything that can be none."""
    given: object = source
    if isinstance(source, Dawdle):
        return lambda: source
    if source is None:
        return Dawdle
    if not callable(given) or not _takes_nothing(given):
        raise ConfigurationError(
            f"the app is a dawdle.Dawdle, or a function without arguments that returns one, not {shown(given)}; a "
            f"lifespan of your own goes to own="
        )
    return source


def _takes_nothing(source: Callable[..., object]) -> bool:
    try:
        signature(source).bind()
    except TypeError:
        return False
    except ValueError:  # written in C, it may have no signature
        return True
    return True


def _made(own: Own[Y], web: object) -> AbstractAsyncContextManager[Y]:
    given: object = own
    if not callable(given):
        raise ConfigurationError(
            f"own= is a lifespan of your own, a function that takes the web app and returns an async context manager, "
            f"not {shown(given)}"
        )
    return require_context_manager(own(web), "own=")


def log_answer(error: Exception, method: str, path: str) -> None:
    """Log an error that was answered: no traceback shows it, since the framework takes it for handled."""
    answer = answer_to(error)
    if answer is not None:
        _log.warning("answered %d to %s %s: %s", answer.status, method, path, error)
