"""The messages of a queue in memory in the order in which they were stored, for those who look at them page by page.

To sort all of them for each page takes the square of their number. So they are sorted when a look begins, and once
more when it has come to the end of that, for what was stored meanwhile. In between, what is deleted is dropped here.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, Protocol, TypeVar

__all__ = ["BrowseOrder"]


class Numbered(Protocol):
    """A message, and its place among all messages."""

    @property
    def number(self) -> int: ...


M = TypeVar("M", bound=Numbered)


class BrowseOrder(Generic[M]):
    """Finds messages among what `read` returns, which is all of them in any order. Several looks may share it."""

    def __init__(self, read: Callable[[], Iterable[M]]) -> None:
        self._read = read
        self._numbers: list[int] = []
        self.messages: dict[int, M] = {}
        """Those of the looks that are under way, by number. What is deleted must be taken out; empty as a rule."""

    def page(self, limit: int, last: int | None) -> list[M]:
        """Return up to `limit` messages behind the one with the number `last`; the first ones if it is None.

        They may be fewer although there are more; there is none only if there are no more.
        """
        found = [] if last is None else self._page(limit, last)
        if not found:
            self._sort()
            found = self._page(limit, last or 0)
        if not found:
            self._numbers, self.messages = [], {}
        return found

    def _sort(self) -> None:
        self.messages = {each.number: each for each in sorted(self._read(), key=lambda each: each.number)}
        self._numbers = list(self.messages)

    def _page(self, limit: int, last: int) -> list[M]:
        behind = range(bisect_right(self._numbers, last), len(self._numbers))
        there = (self._numbers[at] for at in behind if self._numbers[at] in self.messages)
        return [self.messages[number] for number in islice(there, limit)]
