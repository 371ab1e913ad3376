"""What the handlers write down: one line for each run that came to its end, on standard output."""

from datetime import UTC, datetime
from typing import Self

import msgspec

import dawdle


class Run(msgspec.Struct, frozen=True):
    """A run of a handler that began `waited` seconds after the signal."""

    handler: str
    event_id: str
    attempt: int
    waited: float

    @classmethod
    def begin(cls, ctx: dawdle.Context) -> Self:
        now = datetime.now(UTC)
        waited = now - (ctx.signaled_at or now)
        return cls(ctx.handler.rpartition(".")[2], ctx.event_id, ctx.attempt, waited.total_seconds())

    def end(self) -> None:
        """Write it down. The line is in the pipe even if this process is killed the moment after."""
        print(msgspec.json.encode(self).decode(), flush=True)
