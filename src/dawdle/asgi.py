"""The door for ASGI web apps, such as Starlette and Litestar: a lifespan, the probes, and what to answer to an error.

It needs no framework. `dawdle.fastapi` has the same for FastAPI, in its own terms, and `dawdle.aiohttp` for aiohttp.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar, overload

from dawdle import Dawdle, NoAppError, current
from dawdle._web.answers import PROBES, Answer, ProbeName, answer_to, probe
from dawdle._web.host import AppSource, checked, hosted

__all__ = ["Answer", "ProbeName", "answer_to", "app_of", "health_routes", "lifespan", "probe"]

W = TypeVar("W")
Y = TypeVar("Y")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
"""These are the types that Starlette and the servers have, under the same names."""


@overload
def lifespan(app: AppSource = None) -> Callable[[object], AbstractAsyncContextManager[None]]: ...


@overload
def lifespan(
    app: AppSource = None, *, own: Callable[[W], AbstractAsyncContextManager[Y]]
) -> Callable[[W], AbstractAsyncContextManager[Y]]: ...


def lifespan(
    app: AppSource = None, *, own: Callable[[Any], AbstractAsyncContextManager[object]] | None = None
) -> Callable[[Any], AbstractAsyncContextManager[object]]:
    """Return a lifespan that keeps an app entered for as long as the web app runs.

    - `app`: a `Dawdle`, or a function that makes one at each start. Default: `Dawdle()`, as the environment says.
    - `own`: your own lifespan, which takes the web app. It is entered inside the app: when the queue is open, so it may
      signal, and before the first handler runs. It is left when the last handler has ended. What it yields goes to the
      web framework as before.

    Handlers find by `ctx.state(Type)` what `own` yields, or a value of the mapping that it yields, and the web app
    itself. Requests find the app by `dawdle.current()`, and as `web.state.dawdle` where the web app has a `state`.

    A web app whose queue cannot be reached starts all the same: the log says why, and `/ready` is 503 until the queue
    answers. Raises `ConfigurationError` for an `app` that is none, and at the start for an `own` that returns no
    async context manager, such as one without `@asynccontextmanager`. At the start it raises whatever entering the app
    raises too: what is wrong in the settings stays wrong, so the web app does not start.
    """
    make = checked(app)

    @asynccontextmanager
    async def composed(web: object) -> AsyncGenerator[object]:
        async with hosted(make, web, own) as (entered, yielded):
            state = getattr(web, "state", None)
            if state is not None:
                state.dawdle = entered
            try:
                yield yielded
            finally:
                if state is not None:
                    del state.dawdle

    return composed


def app_of(scope: Mapping[str, Any]) -> Dawdle:
    """Return the app of the web app that serves a request or a websocket, given its ASGI scope.

    It is the one that `lifespan` entered, else the only one that is entered in this event loop. Raises `NoAppError` if
    there is none.
    """
    found = _entered_by_lifespan(scope)
    if found is not None:
        return found
    try:
        return current()
    except NoAppError as error:
        error.add_note(
            "Give the web app dawdle's lifespan. In a test, that lifespan runs inside `with TestClient(web) as client:`"
        )
        raise


def health_routes(app: Dawdle | None = None) -> ASGIApp:
    """Return an ASGI app that answers GET and HEAD of `/live`, `/ready` and `/health`: mount it where you like.

    `app`: the app that it tells of. Default: that of the web app, see `app_of`. What each says, `probe` documents.
    """

    async def routes(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - Litestar wants this name
        if scope["type"] != "http":
            return
        name = str(scope["path"]).rstrip("/").rpartition("/")[2]
        if name not in PROBES:
            answer = Answer(404, {"content-type": "application/json"}, b'{"detail":"Not Found"}')
        elif scope["method"] not in {"GET", "HEAD"}:
            answer = Answer(405, {"allow": "GET, HEAD"}, b"")
        else:
            answer = probe(found_app(scope) if app is None else app, name)
        length = str(len(answer.body))
        headers = [
            (key.encode(), value.encode()) for key, value in {**answer.headers, "content-length": length}.items()
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    return routes


def found_app(scope: Mapping[str, Any]) -> Dawdle | None:
    """Return what `app_of` does, or None where it raises."""
    try:
        return app_of(scope)
    except NoAppError:
        return None


def _entered_by_lifespan(scope: Mapping[str, Any]) -> Dawdle | None:
    # Litestar has its app under a name of its own.
    web = scope.get("app") or scope.get("litestar_app")
    found = getattr(getattr(web, "state", None), "dawdle", None)
    return found if isinstance(found, Dawdle) else None
