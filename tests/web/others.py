"""Web apps of the other frameworks, for real servers. Run aiohttp's: python -m tests.web.others 8000."""

import os
import sys
from pathlib import Path

from aiohttp import web
from litestar import Litestar, Request, asgi, post
from litestar.params import JSONBody
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

import dawdle
from dawdle.aiohttp import cleanup_ctx, middleware
from dawdle.aiohttp import health_routes as aiohttp_health_routes
from dawdle.asgi import health_routes, lifespan
from tests.web.events import Placed

JOURNAL = Path(os.environ["JOURNAL"])


@dawdle.on_event
def note(event: Placed) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(f"{event.order_id} {os.getpid()}\n")


async def place(request: StarletteRequest) -> Response:
    return JSONResponse({"event_id": await dawdle.signal(Placed(**await request.json()))}, 202)


starlette = Starlette(
    lifespan=lifespan(), routes=[Route("/orders", place, methods=["POST"]), Mount("/", health_routes())]
)


@post("/orders", status_code=202)
async def place_in_litestar(data: JSONBody[Placed], request: Request) -> dict[str, str]:
    return {"event_id": await request.app.state.dawdle.signal(data)}


litestar = Litestar(
    [place_in_litestar, asgi("/", is_mount=True, copy_scope=True)(health_routes())],
    lifespan=[lifespan()],
    openapi_config=None,
)


async def place_in_aiohttp(request: web.Request) -> web.Response:
    return web.json_response({"event_id": await dawdle.signal(Placed(**await request.json()))}, status=202)


def make_aiohttp() -> web.Application:
    app = web.Application(middlewares=[middleware])
    app.cleanup_ctx.append(cleanup_ctx())
    app.add_routes(aiohttp_health_routes())
    app.router.add_post("/orders", place_in_aiohttp)
    return app


if __name__ == "__main__":
    web.run_app(make_aiohttp(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
