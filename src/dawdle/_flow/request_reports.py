"""Reports each request to a queue, but for receives, to the hooks: how many messages, how long, what was refused."""

import asyncio
from collections.abc import Awaitable, Callable, Sized
from typing import TypeVar

from dawdle._flow.hook_calls import HookCaller
from dawdle._rules.outcome import error_text
from dawdle.abc import Clock, Fault
from dawdle.errors import BackendError
from dawdle.hooks import CallName, Requested

__all__ = ["RequestReports"]

B = TypeVar("B", bound=Sized)


class RequestReports:
    """What tells an app's hooks of its requests. Without hooks each request stays as it is."""

    def __init__(self, hooks: HookCaller, clock: Clock) -> None:
        self._hooks = hooks
        self._clock = clock

    def reported(
        self,
        request: Callable[[B], Awaitable[list[Fault | None]]],
        call: CallName,
        *,
        queue: Callable[[], str],
        limit: Callable[[], int],
        in_app_loop: Callable[..., object] | None = None,
    ) -> Callable[[B], Awaitable[list[Fault | None]]]:
        """Return a request that is reported. `queue` and `limit` are asked for when it ends.

        `in_app_loop` calls a function in the app's loop, where the request is made in another one.
        """
        hooks, clock = self._hooks, self._clock
        if not hooks:
            return request

        async def reported(batch: B) -> list[Fault | None]:
            began = clock.monotonic()
            answers, refused, text, kind = None, len(batch), None, None
            try:
                answers = await request(batch)
                refused = sum(answer is not None for answer in answers)
            except BackendError as error:
                text, kind = str(error), error.kind
                raise
            except asyncio.CancelledError:
                text, kind = "cancelled before it was answered", "unavailable"
                raise
            except Exception as error:
                text, kind = error_text(error), "unavailable"
                raise
            finally:
                moment = Requested(queue(), call, len(batch), limit(), refused, text, kind, clock.monotonic() - began)
                if in_app_loop is None:
                    hooks(moment)
                else:
                    in_app_loop(hooks, moment)
            return answers

        return reported
