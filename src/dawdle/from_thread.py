"""Signal from a thread: a `def` handler, a `def` endpoint of a web app, a thread of your own. Only public names here.

Each function blocks its thread until the queue has stored the event. The app is `app`, else the one whose handler runs
in this thread, else the only one that is entered in this process.

In a coroutine write `await dawdle.signal(…)`. In the event loop of the app these functions would block the loop that
they wait for, so they raise `ConfigurationError`. In another event loop they block that loop: call them with
`asyncio.to_thread`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ParamSpec

from dawdle._app.app import Dawdle
from dawdle._app.function_calls import Function
from dawdle._app.signaling import events_of
from dawdle._app.threads import do_in_loop

__all__ = ["call", "call_after", "signal", "signal_many"]

P = ParamSpec("P")


def signal(
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
    app: Dawdle | None = None,
) -> str:
    """Store an event in the queue from a thread, and return its id when it is stored.

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
    - `app`: the app to signal through; needed where several are entered in this process.

    Raises as `dawdle.signal` does; `NoAppError` when no app is entered in this process, or several are and `app` does
    not say which; `ConfigurationError` in the app's own event loop, before anything is stored; and `BackendError` when
    that loop ends while this thread waits: its message says whether the event may be stored.
    """
    return do_in_loop(
        app,
        lambda app: app.signal(
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
        ),
    )


def signal_many(
    events: Iterable[object],
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    expires: float | timedelta | None = None,
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    source: str | None = None,
    queue: str | Sequence[str] | None = None,
    app: Dawdle | None = None,
) -> list[str]:
    """Store events in the queue from a thread, in as few requests as it allows, and return their ids in order.

    `events` is any iterable, and is iterated in this thread. The options hold for each of them:

    - `delay`: seconds or a timedelta until they are handled: 0 or more, of any length.
    - `at`: the time at which they are handled, an aware datetime; instead of `delay`.
    - `expires`: seconds or a timedelta after which they are not handled any more, counted from when they are due. The
      default is what their type says in `@dawdle.event(expires=...)`.
    - `group`: 1 to 128 printable ASCII characters without a space. Queues that keep order keep it within a group.
    - `headers`: text that travels with each event; names are 1 to 20 of a-z and 0-9.
    - `source`: where it comes from, a URI-reference such as `/shop/checkout`; the app's `source` without it.
    - `queue`: the name of the queue to store them in, or several names; without it the route of their type, else
      `default`.
    - `app`: the app to signal through; needed where several are entered in this process.

    Raises as `signal` does.
    """
    given = events_of(events)  # a generator may block, which is for this thread to do and not for the loop
    return do_in_loop(
        app,
        lambda app: app.signal_many(
            given, delay=delay, at=at, expires=expires, group=group, headers=headers, source=source, queue=queue
        ),
    )


def call(function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
    """Have a function run on any node that has it, and return the id of the call when it is stored in the queue.

    The app is the one whose handler runs in this thread, else the only one that is entered in this process. Where
    several are, run `app.call(…)` in the loop of the app that you mean, by `asyncio.run_coroutine_threadsafe`. Raises
    as `dawdle.call` and `dawdle.from_thread.signal` do.
    """
    return do_in_loop(None, lambda app: app.call(function, *args, **kwargs))


def call_after(seconds: float | timedelta, function: Function[P, object], /, *args: P.args, **kwargs: P.kwargs) -> str:
    """Have a function run in `seconds`, a number or a timedelta of 0 or more, of any length. Otherwise as `call`."""
    return do_in_loop(None, lambda app: app.call_after(seconds, function, *args, **kwargs))
