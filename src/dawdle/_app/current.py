"""Which app `dawdle.signal` means: the one whose handler runs, else the one entered in this event loop."""

import asyncio
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast
from weakref import WeakKeyDictionary

from dawdle._flow.inside import inside
from dawdle.errors import NoAppError

if TYPE_CHECKING:
    from dawdle._app.app import Dawdle

__all__ = ["current", "entered", "left", "signal", "signal_many"]

_entered: "WeakKeyDictionary[asyncio.AbstractEventLoop, list[Dawdle]]" = WeakKeyDictionary()


_lifespan: "ContextVar[Dawdle | None]" = ContextVar("dawdle.lifespan", default=None)
"""The app whose lifespan runs in this context, or once did."""


def entered(app: "Dawdle") -> None:
    """Note that an app runs in this event loop from now on; called in the context of its lifespan."""
    _entered.setdefault(asyncio.get_running_loop(), []).append(app)
    _lifespan.set(app)


def left(app: "Dawdle") -> None:
    """Note that it does no longer; apps may be left in any order."""
    apps = _entered.get(asyncio.get_running_loop(), [])
    if app in apps:
        apps.remove(app)


def current() -> "Dawdle":
    """Return the app that `dawdle.signal` means here.

    Inside a handler that is the app which runs it, and inside a lifespan the app whose it is; elsewhere the one that is
    entered in this event loop. Raises `NoAppError` when none is, or several are.
    """
    where = inside()
    if where is not None:
        return cast("Dawdle", where.app)
    try:
        apps = _entered.get(asyncio.get_running_loop(), [])
    except RuntimeError:
        raise NoAppError("no event loop runs here: signal() is awaited, inside `async with dawdle.Dawdle():`") from None
    if len(apps) == 1:
        return apps[0]
    own = _lifespan.get()
    if own is not None and own in apps:
        return own
    if not apps:
        raise NoAppError(
            "no app is entered in this event loop: write `async with dawdle.Dawdle() as app:` around what signals, "
            "or enter one in the lifespan of your web app"
        )
    raise NoAppError(
        f"{len(apps)} apps are entered in this event loop, {' and '.join(map(repr, apps))}: "
        f"say which one is meant, as in `await app.signal(…)`"
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
