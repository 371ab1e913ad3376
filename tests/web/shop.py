"""The web app that the tests run in servers. Its handler writes a line into a journal, so that runs can be counted.

Its queue is what the environment says. `JOURNAL` names the file.
"""

import asyncio
import os
from pathlib import Path

from fastapi import FastAPI, WebSocket
from fastapi.responses import StreamingResponse

import dawdle
from dawdle.fastapi import Events, exception_handlers, health_router, lifespan
from tests.web.events import Placed

JOURNAL = Path(os.environ["JOURNAL"])


def write(line: str) -> None:
    with JOURNAL.open("a") as journal:
        journal.write(f"{line}\n")


@dawdle.on_event
async def note(event: Placed, ctx: dawdle.Context) -> None:
    await asyncio.sleep(event.total)
    ctx.state(FastAPI)
    write(f"{event.order_id} {os.getpid()}")


def make_app() -> dawdle.Dawdle:
    return dawdle.Dawdle(grace=5)


web = FastAPI(lifespan=lifespan(make_app), exception_handlers=exception_handlers)
web.include_router(health_router())


@web.post("/orders", status_code=202)
async def place(order: Placed, events: Events) -> dict[str, str]:
    return {"event_id": await events.signal(order), "pid": str(os.getpid())}


@web.post("/orders/slowly")
async def place_slowly(order: Placed, events: Events) -> None:
    for number in range(3):
        await asyncio.sleep(0.2)
        await events.signal(Placed(order_id=f"{order.order_id}-{number}"))


@web.get("/events")
async def show(events: Events) -> StreamingResponse:
    async def lines():
        try:
            async with events.stream(Placed) as seen:
                yield ": watching\n\n"
                async for event in seen:
                    yield f"data: {event.order_id}\n\n"
        finally:
            write("the reader has left")

    return StreamingResponse(lines(), media_type="text/event-stream")


@web.websocket("/orders")
async def place_by_socket(socket: WebSocket, events: Events) -> None:
    await socket.accept()
    async for order_id in socket.iter_text():
        await events.signal(Placed(order_id=order_id))
        await socket.send_text(order_id)


def make_web() -> FastAPI:
    return web
