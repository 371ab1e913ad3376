"""An AWS Lambda function on an SQS queue: two handlers of one event, and each is retried by itself.

`template.yaml` deploys it, and `python local.py` runs it here, without AWS.
"""

import msgspec

import dawdle
from dawdle import aws_lambda


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str
    total: int = 0


@dawdle.on_event
async def send_receipt(event: OrderPlaced) -> None:
    print(f"receipt for {event.order_id}")


@dawdle.on_event(retry=dawdle.Retry(initial=1, jitter=0))
async def charge(event: OrderPlaced, ctx: dawdle.Context) -> None:
    if ctx.attempt < 3:
        raise ConnectionError("the bank does not answer")
    print(f"charged {event.total} for {event.order_id}, attempt {ctx.attempt}")


handler = aws_lambda.handler(dawdle.Dawdle())
