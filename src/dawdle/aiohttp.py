"""The door for aiohttp: a `cleanup_ctx`, the probes, and a middleware for events that could not be stored. ::

    web_app.cleanup_ctx.append(cleanup_ctx())
    web_app.add_routes(health_routes())
    web_app.middlewares.append(middleware)

Endpoints signal by `await dawdle.signal(event)`. A worker, which is no web app, serves its probes by itself::

    Dawdle(lifespan=lambda app: health_server(app, port=8080)).run()
"""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dawdle import Dawdle, NoAppError, current
from dawdle._web.answers import PROBES, Answer, ProbeName, answer_to, probe
from dawdle._web.host import AppSource, checked, hosted, log_answer
from dawdle._web.monitor import monitored
from dawdle.errors import ConfigurationError, DawdleError

try:
    from aiohttp import web
    from aiohttp.typedefs import Handler
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"dawdle.aiohttp needs aiohttp, and cannot import {error.name}: pip install aiohttp", name=error.name
    ) from error

__all__ = ["APP", "app_of", "cleanup_ctx", "health_routes", "health_server", "middleware"]

APP: Final = web.AppKey("dawdle", Dawdle)
"""Where a web app has its app: `request.app[dawdle.aiohttp.APP]`."""

MAX_PORT: Final = 65535

ANSWER_SECONDS: Final = 1.0
"""Seconds that the answer to a probe has when its server stops."""


def cleanup_ctx(app: AppSource = None) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return a function for `web_app.cleanup_ctx`, which keeps an app entered for as long as the web app runs.

    `app`: a `Dawdle`, or a function that makes one at each start. Default: `Dawdle()`, as the environment says.

    aiohttp enters them in their order, and leaves them in reverse: append this one after those whose resources handlers
    use, such as a database. Handlers find the web app by `ctx.state(web.Application)`, and its resources in it.

    A web app whose queue cannot be reached starts all the same: the log says why, and `/ready` is 503 until the queue
    answers. Raises `ConfigurationError` for an `app` that is none, and at the start whatever entering the app raises.
    """
    make = checked(app)

    async def context(web_app: web.Application) -> AsyncIterator[None]:
        async with hosted(make, web_app) as (entered, _):
            web_app[APP] = entered
            yield

    return context


def app_of(request: web.Request) -> Dawdle:
    """Return the app of the web app that serves a request, or of the web app that this one is a subapp of.

    It is the one that `cleanup_ctx` entered, else the only one that is entered in this event loop. Raises `NoAppError`
    if there is none.
    """
    found = request.config_dict.get(APP)
    if found is not None:
        return found
    try:
        return current()
    except NoAppError as error:
        error.add_note("Append dawdle.aiohttp.cleanup_ctx() to the cleanup_ctx of the web app")
        raise


def health_routes(app: Dawdle | None = None, *, prefix: str = "") -> list[web.RouteDef]:
    """Return the routes `/live`, `/ready` and `/health`: `web_app.add_routes(health_routes())`.

    - `app`: the app that they tell of. Default: that of the web app.
    - `prefix`: a path in front of them, such as `/internal`.

    `/live` is 200 unless the app has died. `/ready` is 503, with the cause in one line, while the queue has not
    answered or cannot be reached, when the event loop was blocked within the last 10 s, and while the app stops.
    `/health` has all of `app.health()`, for a person. The causes may name the queue and its account.
    """

    def route(name: ProbeName) -> web.RouteDef:
        async def endpoint(request: web.Request) -> web.Response:
            return _response(probe(_found_app(request) if app is None else app, name))

        return web.get(f"{prefix}/{name}", endpoint)  # and HEAD, which aiohttp adds

    return [route(name) for name in PROBES]


@asynccontextmanager
async def health_server(
    app: Dawdle,
    *,
    port: int | None = None,
    host: str | None = None,
    path: str | Path | None = None,
    routes: Iterable[web.AbstractRouteDef] = (),
) -> AsyncGenerator[None]:
    """Serve the probes of an app that is no web app, in the block: the lifespan of a worker, or a part of it.

    - `port`, `host`: where it listens; without a host on all addresses, where an orchestrator reaches it.
    - `path`: the path of a Unix socket, instead of a port.
    - `routes`: more routes, such as one for metrics.

    The probes are those of `health_routes`. In the lifespan of an app they answer from when its queue is open until its
    last handler has ended. Raises `ConfigurationError` where it cannot listen.
    """
    if (port is None) == (path is None):
        raise ConfigurationError("health_server() takes a port, such as port=8080, or the path of a Unix socket")
    if port is not None and not 0 <= port <= MAX_PORT:
        raise ConfigurationError(f"port is 0 to {MAX_PORT}, not {port}")
    web_app = web.Application()
    web_app.add_routes([*health_routes(app), *routes])
    runner = web.AppRunner(web_app, access_log=None, shutdown_timeout=ANSWER_SECONDS)
    await runner.setup()
    try:
        try:
            await (web.TCPSite(runner, host, port) if path is None else web.UnixSite(runner, path)).start()
        except OSError as error:
            where = f"port {port}{'' if host is None else f' of {host}'}" if path is None else path
            # The negative numbers of an unknown host are no errors of the system.
            why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or error
            raise ConfigurationError(f"cannot serve the probes on {where}: {why}") from error
        async with monitored(app):
            yield
    finally:
        await runner.cleanup()


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer 503 with `Retry-After` when an event could not be stored, and 413 when it is too large.

    The log has the cause, the answer has not. What is wrong with the code, such as a type that cannot travel, stays
    500.
    """
    try:
        return await handler(request)
    except DawdleError as error:
        answer = answer_to(error)
        if answer is None:
            raise
        log_answer(error, request.method, request.path)
        return _response(answer)


def _found_app(request: web.Request) -> Dawdle | None:
    try:
        return app_of(request)
    except NoAppError:
        return None


def _response(answer: Answer) -> web.Response:
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
