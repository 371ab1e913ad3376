"""Waiting that no cancellation cuts short: for what must end before the waiting task may go on."""

import asyncio
from collections.abc import Callable, Collection

__all__ = ["wait_through_cancellation", "wait_until_ended"]


async def wait_through_cancellation(
    futures: "Collection[asyncio.Future[None]]", cancelled: Callable[[], object]
) -> None:
    """Return when the first of some futures is done; call `cancelled` for each cancellation that comes meanwhile.

    It takes no cancellation back (`uncancel`): the caller raises its own `CancelledError` again when the wait is over.
    """
    from anyio import CancelScope  # noqa: PLC0415 - an app that is never cancelled need not load it

    # A cancelled scope of anyio cancels its task again in every turn of the loop, until the task has left the scope. A
    # loop that swallows these would be a busy loop. The shield holds them off, and they come again behind it. A native
    # Task.cancel() passes the shield, once for each call.
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
