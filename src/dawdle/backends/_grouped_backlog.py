"""The visible messages of an ordered queue, by group. Knows their numbers and groups, no bytes and no time.

A group is ready while something is visible in it and nothing of it is held. One receive may take several messages of a
group; then the group is held until the last of them is put back or dropped.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

__all__ = ["GroupedBacklog"]


class Numbered(Protocol):
    """A message: its group, None for one that is in order with nothing, and its place among all messages."""

    @property
    def number(self) -> int: ...
    @property
    def group(self) -> str | None: ...


M = TypeVar("M", bound=Numbered)


class _Group(Generic[M]):
    __slots__ = ("held", "visible")

    def __init__(self) -> None:
        self.visible: list[tuple[int, M]] = []  # a heap: what is put back takes its old place
        self.held = 0


class GroupedBacklog(Generic[M]):
    """Visible messages. It is true while one of them may be received; its length counts those behind others too."""

    def __init__(self) -> None:
        self._groups: dict[str | int, _Group[M]] = {}
        self._ready: OrderedDict[str | int, _Group[M]] = OrderedDict()  # the first has waited for longest
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._ready)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[M]:
        return iter([message for group in self._groups.values() for _, message in sorted(group.visible)])

    def add(self, message: M) -> None:
        """Add a new message at the end of its group."""
        self._put(message, self._groups.setdefault(_name_of(message), _Group()))

    def take(self, limit: int) -> list[M]:
        """Take up to `limit` messages. Their groups are held from now on."""
        taken: list[M] = []
        while self._ready and len(taken) < limit:
            _, group = self._ready.popitem(last=False)
            while group.visible and len(taken) < limit:
                taken.append(heapq.heappop(group.visible)[1])
                group.held += 1
        self._count -= len(taken)
        return taken

    def put_back(self, message: M) -> None:
        """Put a message that was taken back into its place, and hold its group no longer for it."""
        group = self._groups[_name_of(message)]
        group.held -= 1
        self._put(message, group)

    def drop(self, message: M) -> None:
        """Hold the group of a message that was taken no longer for it: it is deleted."""
        name = _name_of(message)
        group = self._groups[name]
        group.held -= 1
        if not group.held:
            if group.visible:
                self._ready[name] = group
            else:
                del self._groups[name]

    def _put(self, message: M, group: _Group[M]) -> None:
        heapq.heappush(group.visible, (message.number, message))
        self._count += 1
        if not group.held:
            self._ready[_name_of(message)] = group


def _name_of(message: Numbered) -> str | int:
    return message.number if message.group is None else message.group
