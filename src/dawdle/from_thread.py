"""Signal from a thread: a `def` handler, a `def` endpoint of a web app, a thread of your own. Public names only.

Each function blocks its thread until the queue has stored the event, and does what the method of the same name does.
The app is `app`, else the one whose handler runs in this thread, else the only one that is entered in this process.

In a coroutine write `await dawdle.signal(…)`. In the event loop of the app itself these functions would wait for
themselves, and raise `ConfigurationError` instead. In another event loop they block that one: hand them to
`asyncio.to_thread`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from dawdle._app.app import Dawdle
from dawdle._app.signaling import events_of
from dawdle._app.threads import do_in_loop

__all__ = ["signal", "signal_many"]


def signal(
    event: object,
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    direct: bool = False,
    id: str | None = None,  # noqa: A002 - the word that CloudEvents has for it
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    queue: str | None = None,
    app: Dawdle | None = None,
) -> str:
    """Signal an event and return its id when the queue has stored it; see `dawdle.Dawdle.signal`.

    Raises what that does; `NoAppError` when no app is entered in this process, or several are and `app` does not say
    which; `ConfigurationError` in the app's own event loop, before anything is stored; and `BackendError` when that
    loop ends while this thread waits: its message says whether the event may be stored.
    """
    return do_in_loop(
        app,
        lambda app: app.signal(
            event, delay=delay, at=at, direct=direct, id=id, group=group, headers=headers, queue=queue
        ),
    )


def signal_many(
    events: Iterable[object],
    *,
    delay: float | timedelta | None = None,
    at: datetime | None = None,
    group: str | None = None,
    headers: Mapping[str, str] | None = None,
    queue: str | None = None,
    app: Dawdle | None = None,
) -> list[str]:
    """Signal events and return their ids in order; see `dawdle.Dawdle.signal_many`. Raises as `signal` here does.

    `events` is iterated in this thread.
    """
    given = events_of(events)  # a generator may block, which is for this thread to do and not for the loop
    return do_in_loop(
        app,
        lambda app: app.signal_many(given, delay=delay, at=at, group=group, headers=headers, queue=queue),
    )
