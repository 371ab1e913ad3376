"""Processes the messages of an ordered queue: those of one group one after another, in the order of their receive.

    received ──► first of its group ──────────────────────► processed ──┬── acked ──► the next one is first
        └──► in line ──┬── the one before it was acked ──► first        └── released, lost, or in doubt: it comes back
                       └── interrupted, or one before it comes back ──► given back unrun

A message leaves its line when its settling has ended. If it is not deleted by then, it comes back, here or on another
node. So all that stand behind it are given back unrun, and come back after it: the queue keeps them behind it, in
whatever order they are released.
"""

from collections import OrderedDict, deque
from collections.abc import Coroutine
from typing import Final

from dawdle._flow.in_flight import InFlight
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.processor import Processor
from dawdle._rules.in_place import NO_PAST, Past, never_run, past_after

__all__ = ["OrderedProcessor"]

MAX_PASTS: Final = 10_000
"""Messages that were released here and are remembered, two numbers each; beyond that the oldest is forgotten."""


class OrderedProcessor:
    """The lines of one queue's groups."""

    def __init__(self, processor: Processor, in_flight: InFlight) -> None:
        self._processor = processor
        self._in_flight = in_flight
        self._lines: dict[str, deque[InFlightMessage]] = {}
        self._pasts: OrderedDict[tuple[int, str], Past] = OrderedDict()

    def process(self, message: InFlightMessage) -> Coroutine[object, object, None]:
        """Put a message that is in flight in line, and return what processes it: then it is in flight no more."""
        group = None if message.delivery is None else message.delivery.group
        if group is None:  # in order with nothing
            return self._run(message)
        # Now, and not when its task begins. Of the messages that a receive brings again, one may still be on its way
        # out here, so that it keeps its place and only its receipt is new. If it left its line before the others are
        # in, they would not be behind it, and run although it comes back.
        line = self._lines.setdefault(group, deque())
        line.append(message)
        message.line = line
        return self._process_in_line(group, line, message)

    async def _process_in_line(self, group: str, line: deque[InFlightMessage], message: InFlightMessage) -> None:
        try:
            if line[0] is message:
                await self._run(message)
            else:
                await self._run_after_others(message)
        finally:
            self._leave(group, line, message)

    async def _run(self, message: InFlightMessage) -> None:
        message.past = self._pasts.pop(message.key, NO_PAST)
        await self._processor.process(message)
        if not message.settled:
            self._remember(message, past_after(message.past, message.received, message.receive_count, message.released))

    async def _run_after_others(self, message: InFlightMessage) -> None:
        if not message.interrupted:
            await self._in_flight.wait_in_line(message)
        if message.interrupted:
            await self._processor.give_back(message)
            self._remember(message, never_run(message.receive_count))
        else:
            self._remember(message, never_run(message.received - 1))
            await self._run(message)

    def _leave(self, group: str, line: deque[InFlightMessage], message: InFlightMessage) -> None:
        """Take a message out of its line: the next one begins, or all behind it are given back."""
        place = line.index(message)
        del line[place]
        if message.settled and not message.settling_failed:
            if line:
                line[0].wake()
        else:
            for behind in list(line)[place:]:
                behind.interrupt()
        if not line:
            del self._lines[group]

    def _remember(self, message: InFlightMessage, past: Past) -> None:
        self._pasts[message.key] = past
        if len(self._pasts) > MAX_PASTS:
            self._pasts.popitem(last=False)
