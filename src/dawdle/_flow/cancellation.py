"""Waiting that no cancellation cuts short: for what must be seen to its end before a task may go on."""

import asyncio
from collections.abc import Callable, Collection

__all__ = ["wait_through_cancellation", "wait_until_ended"]


async def wait_through_cancellation(
    futures: "Collection[asyncio.Future[None]]", cancelled: Callable[[], object]
) -> None:
    """Return when the first of some futures is done; call `cancelled` for each cancellation that comes meanwhile.

    A cancelled scope of anyio cancels its task again in every turn of the loop until that has left the scope. Here that
    would be a busy loop, so a shield keeps such scopes out; they cancel again behind it. What `Task.cancel()` says gets
    through the shield, once for each call.
    """
    from anyio import CancelScope  # noqa: PLC0415 - who is never cancelled need not load it

    with CancelScope(shield=True):
        while not any(each.done() for each in futures):
            try:
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                cancelled()


async def wait_until_ended(task: "asyncio.Task[None]") -> None:
    """Wait for a task to end, and cancel it again whenever this call is cancelled; its result is not asked for."""
    await wait_through_cancellation([task], task.cancel)
    if not task.cancelled():
        task.exception()
