"""The door for FastAPI: a lifespan, the dependency `Events`, a router with the probes, and handlers of exceptions. ::

    web = FastAPI(lifespan=lifespan(), exception_handlers=exception_handlers)
    web.include_router(health_router())


    @web.post("/orders", status_code=202)
    async def place_order(order: OrderPlaced, events: Events) -> dict[str, str]:
        return {"event_id": await events.signal(order)}

Starlette and Litestar use `dawdle.asgi`.
"""

from collections.abc import Callable, Coroutine, Sequence
from enum import Enum
from typing import Annotated, Any, Final

from dawdle import Dawdle
from dawdle._web.host import log_answer
from dawdle.asgi import Answer, ProbeName, answer_to, app_of, found_app, lifespan, probe
from dawdle.errors import BackendError, EventTooLargeError, SignalError

try:
    from fastapi import APIRouter, Depends, Request, Response, WebSocket
    from fastapi.params import Depends as DependsParam
    from starlette.requests import HTTPConnection
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"dawdle.fastapi needs FastAPI, and cannot import {error.name}: pip install 'dawdle[fastapi]'. For Starlette "
        f"and Litestar there is dawdle.asgi, which needs neither",
        name=error.name,
    ) from error

__all__ = ["Events", "app", "exception_handlers", "health_router", "lifespan"]

_TRY_AGAIN_LATER: Final = 1013
"""The code that closes a websocket, where a request would be answered with 503."""

_FAILED: Final[dict[int | str, dict[str, Any]]] = {503: {"description": "Not now, with the cause in one line"}}


async def app(connection: HTTPConnection) -> Dawdle:
    """Return the app of the web app, as a dependency of requests and websockets. `Events` is short for it.

    Raises `NoAppError` where no app is entered. A test may override it:
    `web.dependency_overrides[dawdle.fastapi.app] = lambda: another`.
    """
    return app_of(connection.scope)


Events = Annotated[Dawdle, Depends(app)]
"""The app, as a parameter of an endpoint: `async def place_order(order: OrderPlaced, events: Events)`."""


async def _not_stored(connection: HTTPConnection, error: Exception) -> Response:
    answer = answer_to(error)
    if answer is None:
        raise error
    if isinstance(connection, WebSocket):
        log_answer(error, "websocket", connection.url.path)
        await connection.close(_TRY_AGAIN_LATER)
    else:
        log_answer(error, str(connection.scope["method"]), connection.url.path)
    return _response(answer)  # of a websocket, Starlette takes no notice of it


exception_handlers: Final[dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]]] = {
    SignalError: _not_stored,
    BackendError: _not_stored,
    EventTooLargeError: _not_stored,
}
"""For `FastAPI(exception_handlers=…)`, alone or among your own: an event that could not be stored is answered with 503
and `Retry-After`, and one that is too large with 413. A websocket is closed with 1013, "try again later". The log has
the cause, the answer has not. What is wrong with the code, such as a type that cannot travel, stays 500."""


def health_router(
    app: Dawdle | None = None,
    *,
    prefix: str = "",
    tags: Sequence[str | Enum] = ("health",),
    include_in_schema: bool = True,
    dependencies: Sequence[DependsParam] = (),
) -> APIRouter:
    """Return a router with `/live`, `/ready` and `/health`: `web.include_router(health_router())`.

    - `app`: the app that it tells of. Default: that of the web app.
    - `prefix`, `tags`, `include_in_schema`, `dependencies`: as an `APIRouter` has them.

    `/live` is 200 unless the app has died. `/ready` is 503, with the cause in one line, while the queue has not
    answered or cannot be reached, when the event loop was blocked within the last 10 s, and while the app stops.
    `/health` has all of `app.health()`, for a person. The causes may name the queue and its account.
    """
    router = APIRouter(
        prefix=prefix, tags=list(tags), include_in_schema=include_in_schema, dependencies=list(dependencies)
    )

    def add(name: ProbeName, summary: str) -> None:
        async def endpoint(request: Request) -> Response:
            return _response(probe(found_app(request.scope) if app is None else app, name))

        endpoint.__name__ = name
        router.add_api_route(f"/{name}", endpoint, methods=["GET"], summary=summary, responses=_FAILED)
        router.add_api_route(f"/{name}", endpoint, methods=["HEAD"], include_in_schema=False)

    add("live", "Should this process go on?")
    add("ready", "Should this process get requests?")
    add("health", "All that is known of the queue and the handlers")
    return router


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
