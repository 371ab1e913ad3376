"""The module's own functions. They find the app that is meant here, and do all else through it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ParamSpec, cast

from dawdle._app.app import Dawdle
from dawdle._app.loops import apps_in, entries, lifespan_here, loop_here
from dawdle._app.watching import WatchCalls
from dawdle._flow.handler_scope import current_letter_run, current_scope
from dawdle._handlers.context import Context
from dawdle._handlers.function import Function
from dawdle.errors import NoAppError

__all__ = ["call", "call_after", "current", "current_context", "signal", "signal_many", "stream", "wait_for"]

P = ParamSpec("P")


def current() -> Dawdle:
    """Return the app that `dawdle.signal` means here.

    Inside a handler it is the app that runs the handler, and inside a lifespan the app that it belongs to. Elsewhere it
    is the app that is entered in this event loop. Raises `NoAppError` if none is, or several are.
    """
    # The loop comes before the lifespan: one app alone is meant everywhere in its loop. A task that a lifespan started
    # keeps that lifespan's context, and may outlive its app.
    where = current_scope() or current_letter_run()
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


def current_context() -> Context | None:
    """Return the `Context` of the handler that runs here, in its threads too; None outside of every handler.

    It is for code that a handler calls and that does not get the context handed in, such as a log filter. A task that
    a handler has started is outside of it once the handler has ended.
    """
    run = current_scope()
    if run is not None:
        return run.as_context()
    of_letter = current_letter_run()
    return None if of_letter is None else of_letter.context


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
        "signals, or enter one in the lifespan of your web app, as FastAPI(lifespan=dawdle.fastapi.lifespan()) does; "
        "its test needs `with TestClient(web) as client:`"
    )


async def signal(
    event: object,
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    expires: float | timedelta | None = None,
    direct: bool = False,
    id: str | None = None,  # noqa: A002 - the word that CloudEvents has for it
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    source: str | None = None,
    queue: str | Sequence[str] | None = None,
    transaction: object | None = None,
) -> str:
    """Store an event in the queue of the current app, and return its id when it is stored.

    The current app is the one whose handler runs here, else the one that is entered in this event loop.

    - `delay`: seconds or a timedelta until it is handled: 0 or more, of any length.
    - `at`: the time at which it is handled, an aware datetime; instead of `delay`.
    - `expires`: seconds or a timedelta after which it is not handled any more, counted from when it is due. The default
      is what its type says in `@dawdle.event(expires=...)`.
    - `direct`: True starts its handlers here and now, past the queue, and returns when they have started. One that
      fails goes to the queue and is retried there. Not together with `delay` or `at`.
    - `id`: your own event id, 1 to 128 printable ASCII characters without a space. A queue that removes duplicates
      stores the same id once; on other queues it is two events.
    - `group`: 1 to 128 printable ASCII characters without a space. Queues that keep order keep it within a group.
    - `headers`: text that travels with the event; names are 1 to 20 of a-z and 0-9.
    - `source`: where it comes from, a URI-reference such as `/shop/checkout`; the app's `source` without it.
    - `queue`: the name of the queue to store it in, or several names; without it the route of its type, else `default`.
    - `transaction`: your own open transaction in the queue's database: the event is stored if and only if you commit
      it. Not every queue can do that, and not together with `direct`.

    Raises `NoAppError` when no app is entered or several are, `ConfigurationError`, `NotAnEventError`, `EventError` or
    `EventTooLargeError` before anything is stored, and `SignalError` when the event is not stored or may not be: its
    `not_stored` and `uncertain` say which. When it is cancelled, the event may be stored all the same.
    """
    return await current().signal(
        event,
        delay=delay,
        at=at,
        expires=expires,
        direct=direct,
        id=id,
        group=group,
        headers=headers,
        source=source,
        queue=queue,
        transaction=transaction,
    )


async def signal_many(
    events: Iterable[object],
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    expires: float | timedelta | None = None,
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    source: str | None = None,
    queue: str | Sequence[str] | None = None,
    transaction: object | None = None,
) -> list[str]:
    """Store events in the queue of the current app in as few requests as it allows, and return their ids in order.

    `events` is any iterable. All of them are in memory at once. The options hold for each of them:

    - `delay`: seconds or a timedelta until they are handled: 0 or more, of any length.
    - `at`: the time at which they are handled, an aware datetime; instead of `delay`.
    - `expires`: seconds or a timedelta after which they are not handled any more, counted from when they are due. The
      default is what their type says in `@dawdle.event(expires=...)`.
    - `group`: 1 to 128 printable ASCII characters without a space. Queues that keep order keep it within a group.
    - `headers`: text that travels with each event; names are 1 to 20 of a-z and 0-9.
    - `source`: where it comes from, a URI-reference such as `/shop/checkout`; the app's `source` without it.
    - `queue`: the name of the queue to store them in, or several names; without it the route of their type, else
      `default`.
    - `transaction`: your own open transaction in the queue's database: they are stored if and only if you commit it.

    Raises as `signal` does. An event that cannot travel raises before any is stored. Else `SignalError` says which
    events are stored, which are not, and which may or may not be.
    """
    return await current().signal_many(
        events,
        delay=delay,
        at=at,
        expires=expires,
        group=group,
        headers=headers,
        source=source,
        queue=queue,
        transaction=transaction,
    )


async def call(function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
    """Have a function run on any node that has it, and return the id of the call when it is stored in the queue.

    `await dawdle.call(resize, "a.png", width=64)` for a function with `@dawdle.function` above it. Its result is not
    returned: the function stores what it makes, or signals an event. A call is retried, delayed and dead-lettered as an
    event is. The options of a call are those of the function: `call(resize.options(delay=60, id=…), "a.png")`.

    Raises `ArgumentError` when the arguments do not fit the function's signature or cannot travel, and
    `NotAnEventError` for what is no such function, before anything is stored; and otherwise as `signal` does.
    """
    return await current().call(function, *args, **kwargs)


async def call_after(
    seconds: float | timedelta, function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs
) -> str:
    """Have a function run in `seconds`, a number or a timedelta of 0 or more, of any length. Otherwise as `call`."""
    return await current().call_after(seconds, function, *args, **kwargs)


class _CurrentApp(WatchCalls):
    """The calls of whichever app is meant where they are made: their overloads are written once."""

    def _watched(self) -> Dawdle:
        return current()


wait_for = _CurrentApp().wait_for
stream = _CurrentApp().stream
