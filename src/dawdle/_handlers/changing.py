"""The lock under which registries and the handlers of apps change, and who is told of a change after it.

It is one lock for all, since a name is taken in all registries that include each other.
"""

from collections.abc import Iterable
from threading import RLock
from typing import Final, Protocol

__all__ = ["CHANGING", "Observer"]


class Observer(Protocol):
    """A part of an app that reacts to changes of a registry."""

    def changed(self) -> None:
        """React to a change; called in the thread that made it."""
        ...


class Changing:
    """The lock of all registries. When the outermost block leaves it, it calls the observers of all changes."""

    # Observers are called after the release: they are code of the flow, and under the lock one that waits for another
    # lock could wait for ever. The lock is reentrant, since `AppHandlers.register` takes it and calls `Registry.put`,
    # which takes it too. The depth tells the outermost block.

    def __init__(self) -> None:
        self._lock = RLock()
        self._depth = 0
        self._waiting: list[Observer] = []

    def tell(self, observers: Iterable[Observer]) -> None:
        """Call `changed()` on each of them, once, after the lock is released."""
        self._waiting += [each for each in observers if not any(each is known for known in self._waiting)]

    def __enter__(self) -> None:
        self._lock.acquire()
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1
        observers: list[Observer] = []
        if not self._depth:
            observers, self._waiting = self._waiting, []
        self._lock.release()
        for observer in observers:
            observer.changed()


CHANGING: Final = Changing()
"""Held while any registry, or the handlers of any app, change."""
