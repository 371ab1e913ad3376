"""Asks one queue what it holds: how many messages wait, are in flight, delayed and dead, and how old the oldest is."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from dawdle import DawdleError
from dawdle.abc import Aged, Backend, Countable, Counts
from dawdle.cli._queue_facts import facts_of
from dawdle.cli.top._assembly import Asked
from dawdle.cli.top._prices import price_of

__all__ = ["CountedQueue"]

BILLED_SECONDS: Final = 5.0
"""Seconds between two looks at a queue whose requests cost money. SQS's own numbers are up to a minute late."""

REST_SECONDS: Final = 1.0
"""Seconds between two looks at dead letters and ages: ten times a second they would cost as much as all the rest."""

FAILED_SECONDS: Final = 10.0
"""Seconds until a queue is asked again that has refused."""

TIMEOUT_SECONDS: Final = 10.0

MAX_SHARE: Final = 0.01
"""How much of its time a queue may be kept busy: SQLite counts a million messages in 70 ms, and has but one file."""


class CountedQueue:
    """One queue, and what it last said. It is opened and closed elsewhere."""

    def __init__(self, name: str, backend: Backend) -> None:
        self._backend = backend
        self._is_open = True
        self._is_prepared = False
        self._seconds = 0.0
        self._letters: int | None = None
        self._oldest: float | None = None
        self._rest_due = 0.0
        system, place = facts_of(backend)
        self._asked = Asked(name=name, system=system, place=place)
        self.requests = 0
        """Requests that one look takes."""

    @property
    def asked(self) -> Asked:
        """What it last said."""
        return self._asked

    @property
    def price(self) -> float | None:
        """Dollars for a million requests; None: they are not billed."""
        return price_of(self._asked.system, self._asked.place)

    def period(self, interval: float) -> float:
        """Return the seconds until the next look, where a person wants one each `interval`."""
        if self._asked.error is not None:
            return max(interval, FAILED_SECONDS)
        least = self._seconds / MAX_SHARE if self.price is None else BILLED_SECONDS
        return max(interval, least)

    def give_up(self, error: str) -> None:
        """Note that it cannot be opened, and ask it no more."""
        self._fail(error)
        self._is_open = False

    async def ask(self) -> None:
        """Ask once. An error is an answer too."""
        if not self._is_open:
            return
        began = time.monotonic()
        error: str | None = None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self._look()
        except TimeoutError:
            error = f"it did not answer in {TIMEOUT_SECONDS:g} s"
        except DawdleError as raised:
            error = str(raised)
        self._seconds = time.monotonic() - began
        if error is not None:
            self._fail(error)

    def _fail(self, error: str) -> None:
        self._asked = Asked(name=self._asked.name, system=self._asked.system, place=self._asked.place, error=error)

    async def _look(self) -> None:
        backend = self._backend
        if not self._is_prepared:
            await backend.prepare_receive()  # SQS finds its dead-letter queue here
            self._is_prepared = True
        found = [await _count(each) for each in (backend, backend.delayed)]
        counts = [each for each in found if each is not None]
        self.requests = len(counts) + (backend.dead_letters is not None)
        if time.monotonic() >= self._rest_due:
            letters = await _count(backend.dead_letters)
            self._letters = None if letters is None else letters.waiting + letters.in_flight + letters.delayed
            self._oldest = await backend.oldest() if isinstance(backend, Aged) else None
            self._rest_due = time.monotonic() + REST_SECONDS
        self._asked = Asked(
            name=self._asked.name,
            system=self._asked.system,
            place=facts_of(backend)[1],
            counts=_added(counts),
            oldest=self._oldest,
            dead_letters=self._letters,
        )


async def _count(backend: object) -> Counts | None:
    return await backend.count() if isinstance(backend, Countable) else None


def _added(counts: Sequence[Counts]) -> Counts | None:
    """Return what a queue and its second one for delayed events hold; None if it cannot be counted."""
    if not counts:
        return None
    return Counts(
        waiting=sum(each.waiting for each in counts),
        in_flight=sum(each.in_flight for each in counts),
        delayed=sum(each.delayed for each in counts),
    )
