"""Stores events, many in a request, and tells at once which are stored. Reads none."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from dawdle import Dawdle, EventError, SignalError
from dawdle.cli._running import CommandError
from dawdle.cli.signal._lines import Line

__all__ = ["CHUNK", "Store", "unstored"]

CHUNK: Final = 500
"""Events that are stored together: some fifty requests of SQS, and few enough to show progress."""

MAX_IDS: Final = 20
"""Ids that an error names."""


class Store:
    """Stores events by the calls of an app that is entered."""

    def __init__(self, app: Dawdle, how: Mapping[str, Any], stored: Callable[[Sequence[str]], None]) -> None:
        self._app = app
        self._how = how
        self._stored = stored

    async def store(self, lines: Sequence[Line]) -> list[CommandError]:
        """Store events, and return an error for each that the app refuses. Raises `SignalError` if the queue fails."""
        if all(line.id is None for line in lines):
            try:
                self._stored(await self._app.signal_many([line.event for line in lines], **self._how))
            except SignalError as error:
                self._stored(error.stored)
                raise
            except EventError:  # one of them is refused, and none is stored
                pass
            else:
                return []
        calls = (self._app.signal(line.event, id=line.id, **self._how) for line in lines)
        answers = await asyncio.gather(*calls, return_exceptions=True)
        self._stored([answer for answer in answers if isinstance(answer, str)])
        refused: list[CommandError] = []
        for line, answer in zip(lines, answers, strict=True):
            if isinstance(answer, EventError):
                refused.append(CommandError(f"line {line.number}: {answer}" if line.number else str(answer)))
            elif isinstance(answer, BaseException):
                raise answer
        return refused


def unstored(error: SignalError) -> str:
    """Return the ids of the events that an error is about."""
    failed = [*error.not_stored, *error.uncertain]
    more = f" and {len(failed) - MAX_IDS} more" if len(failed) > MAX_IDS else ""
    return ", ".join(failed[:MAX_IDS]) + more
