"""The functions that the tests run in AWS's runtime interface client. What happens in them is printed, a line each."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

import dawdle
from dawdle import aws_lambda


class Placed(msgspec.Struct, frozen=True):
    order: str
    seconds: float = 0.0
    fails: int = 0


registry = dawdle.Registry()


@registry.on_event(retry=dawdle.Retry(initial=0))
async def receipt(event: Placed, ctx: dawdle.Context) -> None:
    print("receipt", event.order, ctx.attempt, ctx.state(str))


@registry.on_event(retry=dawdle.Retry(initial=0))
async def stock(event: Placed, ctx: dawdle.Context) -> None:
    print("begins", event.order, ctx.attempt)
    await asyncio.sleep(event.seconds if ctx.attempt == 1 else 0)
    if ctx.attempt <= event.fails:
        raise ValueError("no")
    print("stock", event.order, ctx.attempt)


@asynccontextmanager
async def lifespan(app: dawdle.Dawdle) -> AsyncIterator[str]:
    print("entered")
    yield "pool"
    print("left")


handler = aws_lambda.handler(dawdle.Dawdle(registry=registry, lifespan=lifespan), report_batch_item_failures=True)
