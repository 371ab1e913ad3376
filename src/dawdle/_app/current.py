"""The module's own functions. They find the app that is meant here, and do all else through it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import cast

from dawdle._app.app import Dawdle
from dawdle._app.loops import apps_in, entries, lifespan_here, loop_here
from dawdle._flow.handler_scope import current_scope
from dawdle.errors import NoAppError

__all__ = ["current", "signal", "signal_many"]


def current() -> Dawdle:
    """Return the app that `dawdle.signal` means here.

    Inside a handler it is the app that runs the handler, and inside a lifespan the app that it belongs to. Elsewhere it
    is the app that is entered in this event loop. Raises `NoAppError` if none is, or several are.
    """
    # The loop comes before the lifespan: one app alone is meant everywhere in its loop. A task that a lifespan started
    # keeps that lifespan's context, and may outlive its app.
    where = current_scope()
    if where is not None:
        return cast("Dawdle", where.app)
    loop = loop_here()
    apps = [] if loop is None else apps_in(loop)
    if len(apps) == 1:
        return cast("Dawdle", apps[0])
    own = lifespan_here()
    if own is not None and own in apps:
        return cast("Dawdle", own)
    if apps:
        raise NoAppError(
            f"{len(apps)} apps are entered in this event loop, {' and '.join(map(repr, apps))}: "
            f"say which one is meant, as in `await app.signal(…)`"
        )
    raise NoAppError(_no_app_here(runs=loop is not None))


def _no_app_here(*, runs: bool) -> str:
    """Return the error text for a loop without an app. `runs`: an event loop runs here at all."""
    if not runs:
        return (
            "no event loop runs here: `await dawdle.signal(…)` in a coroutine, inside `async with dawdle.Dawdle():`; "
            "in a thread write dawdle.from_thread.signal(…)"
        )
    others = entries()
    if others:
        return (
            f"no app is entered in this event loop. {others[0].app!r} is entered in the loop of thread "
            f"{others[0].thread!r}: from a thread write dawdle.from_thread.signal(…), or enter an app in this loop"
        )
    return (
        "no app is entered in this event loop: write `async with dawdle.Dawdle() as app:` around the code that "
        "signals, or enter one in the lifespan of your web app"
    )


async def signal(
    event: object,
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    direct: bool = False,
    id: str | None = None,  # noqa: A002 - the word that CloudEvents has for it
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    queue: str | None = None,
) -> str:
    """Signal an event through the current app; see `Dawdle.signal`."""
    return await current().signal(
        event, delay=delay, at=at, direct=direct, id=id, group=group, headers=headers, queue=queue
    )


async def signal_many(
    events: Iterable[object],
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    queue: str | None = None,
) -> list[str]:
    """Signal events through the current app; see `Dawdle.signal_many`."""
    return await current().signal_many(events, delay=delay, at=at, group=group, headers=headers, queue=queue)
