"""Brings answers back to the event loops of their callers. What was received for a caller that has left is released."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

from dawdle.abc import Clock, Delivery, Fault, ReleaseEntry
from dawdle.backends.sqlite._calls import AnyCall, QueueRow, ReceiveCall, ReleaseCall
from dawdle.backends.sqlite._database import Database
from dawdle.backends.sqlite._executor import release_received
from dawdle.errors import BackendError

__all__ = ["Answers"]


class Answers:
    """Hands over answers, once for each transaction and loop."""

    def __init__(self, database: Database, clock: Clock, submit: Callable[[AnyCall], None], *, inline: bool) -> None:
        self._database = database
        self._clock = clock
        self._submit = submit
        self._inline = inline
        """Calls are carried out where they are made, so their callers are told there."""

    def hand_over(self, calls: Sequence[AnyCall]) -> None:
        """Give the callers their answers, each in its own loop. From any thread."""
        by_loop: dict[asyncio.AbstractEventLoop, list[AnyCall]] = {}
        for call in calls:
            by_loop.setdefault(call.loop, []).append(call)
        for loop, mine in by_loop.items():
            if self._inline and _running_loop() is loop:
                self._hand_over_here(mine)
            else:
                try:
                    loop.call_soon_threadsafe(self._hand_over_here, mine)
                except RuntimeError:  # it is closed, and its tasks with it
                    self._give_back_here(mine)

    def _hand_over_here(self, calls: Iterable[AnyCall]) -> None:
        """Give the callers of this loop their answers."""
        for call in calls:
            if not call.hand_over() and isinstance(call, ReceiveCall) and isinstance(call.answer, list):
                self.give_back(call.queue, call.answer)

    def _give_back_here(self, calls: Iterable[AnyCall]) -> None:
        """Release in this thread what was received for callers whose loop is closed."""
        for call in calls:
            if isinstance(call, ReceiveCall) and isinstance(call.answer, list) and call.answer:
                with suppress(BackendError):  # the lease ends instead
                    self._database.transact(partial(release_received, call, self._clock.now()), sync=False)
                call.queue.next_due = None

    def give_back(self, queue: QueueRow, deliveries: Sequence[Delivery]) -> None:
        """Release what was received for a caller that has left meanwhile. In a loop."""
        if deliveries:
            call = ReleaseCall(queue, [ReleaseEntry(each.receipt, 0.0) for each in deliveries])
            call.future.add_done_callback(_ignore)
            with suppress(BackendError):  # the file was closed: the lease ends instead
                self._submit(call)


def _ignore(future: asyncio.Future[list[Fault | None]]) -> None:
    """Take note of an error that no caller waits for: the lease ends instead."""
    if not future.cancelled():
        future.exception()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
