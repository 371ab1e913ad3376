"""Which app `dawdle.signal` means: the one whose handler runs, else the one entered in this event loop."""

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

    Inside a handler that is the app which runs it, and inside a lifespan the app whose it is; elsewhere the one that is
    entered in this event loop. Raises `NoAppError` when none is, or several are.
    """
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
    """Return what is said where no app is entered; `runs`: whether an event loop runs here at all."""
    if not runs:
        return (
            "no event loop runs here: `await dawdle.signal(…)` in a coroutine, inside `async with dawdle.Dawdle():`; "
            "in a thread write dawdle.from_thread.signal(…)"
        )
    others = entries()
    if others:
        return (
            f"no app is entered in this event loop. {others[0].app!r} is in another, that of thread "
            f"{others[0].thread!r}: from a thread write dawdle.from_thread.signal(…), or enter an app in this loop"
        )
    return (
        "no app is entered in this event loop: write `async with dawdle.Dawdle() as app:` around what signals, "
        "or enter one in the lifespan of your web app"
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
