"""Looks at the letters that a command means: finds those of an id, and counts them. Moves and deletes none."""

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import NamedTuple

import msgspec

from dawdle import Dawdle, DeadLetter
from dawdle.cli._interrupt import Interrupt
from dawdle.cli._running import CommandError
from dawdle.cli.dead._filters import Filters, letters_of
from dawdle.cli.dead._queues import DeadLetterQueues

__all__ = ["Found", "Group", "found_of_ids", "look", "mark_of"]

MAX_IDS_SHOWN = 5


class Group(msgspec.Struct):
    """Letters that have queue, type and handler in common, as `--dry-run --json` prints them."""

    queue: str
    event_type: str
    handler: str | None
    letters: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None

    def add(self, letter: DeadLetter) -> None:
        """Count a letter."""
        self.letters += 1
        at = letter.since
        if at is not None:
            self.oldest = at if self.oldest is None else min(self.oldest, at)
            self.newest = at if self.newest is None else max(self.newest, at)


class Found(NamedTuple):
    """What a look has found."""

    ids: frozenset[str] | None
    """The events that were named by their ids; None: none was."""
    groups: list[Group]
    """The largest first."""
    seen: frozenset[int]
    """What `mark_of` says of each letter."""

    @property
    def letters(self) -> int:
        """How many letters there are."""
        return sum(group.letters for group in self.groups)


def mark_of(letter: DeadLetter) -> int:
    """Return what tells a letter from all others: 64 bits, since there may be very many."""
    return hash((letter.queue, letter.event_id, letter.handler))


async def look(
    app: Dawdle,
    queues: DeadLetterQueues,
    filters: Filters,
    given: Sequence[str],
    interrupt: Interrupt,
    seen: Callable[[], None],
) -> Found:
    """Return what is meant: the letters that meet the conditions, of the events with these ids if any are given.

    The app is entered. `seen` is called for each letter. ^C ends it early. Raises `CommandError` for an id that no
    letter has, or several have.
    """
    groups: dict[tuple[str, str, str, str | None], Group] = {}
    marks: set[int] = set()
    async with aclosing(letters_of(app, filters)) as letters:
        async for letter in letters:
            if interrupt.asked:
                break
            seen()
            if not given or letter.event_id.startswith(tuple(given)):
                # By event too while ids are given: an id that turns out to be ambiguous has more than it meant.
                event_id = letter.event_id if given else ""
                key = (event_id, letter.queue, letter.event_type, letter.handler)
                groups.setdefault(key, Group(*key[1:])).add(letter)
                marks.add(mark_of(letter))
    if not given or interrupt.asked:
        return Found(None, _largest_first(groups.values()), frozenset(marks))
    found = {event_id for event_id, *_ in groups}
    ids = frozenset([_one_of(each, found, await _hint(queues, each, found)) for each in given])
    meant = _largest_first(group for (event_id, *_), group in groups.items() if event_id in ids)
    return Found(ids, meant, frozenset(marks))


async def found_of_ids(
    app: Dawdle, queues: DeadLetterQueues, filters: Filters, given: str, interrupt: Interrupt
) -> list[DeadLetter]:
    """Return the letters of the one event with an id, or whose id begins so. Raises `CommandError`."""
    async with aclosing(letters_of(app, filters)) as letters:
        found: list[DeadLetter] = []
        async for letter in letters:
            if interrupt.asked:
                return []
            if letter.event_id.startswith(given):
                found.append(letter)
    ids = {letter.event_id for letter in found}
    event_id = _one_of(given, ids, await _hint(queues, given, ids))
    return [letter for letter in found if letter.event_id == event_id]


async def _hint(queues: DeadLetterQueues, given: str, ids: Collection[str]) -> str:
    return "" if any(each.startswith(given) for each in ids) else await queues.where_it_may_be()


def _one_of(given: str, ids: Collection[str], hint: str) -> str:
    """Return the one id that is meant. Raises `CommandError` if it is none, or several."""
    if given in ids:
        return given
    meant = sorted(each for each in ids if each.startswith(given))
    if not meant:
        raise CommandError(f"no dead letter that is meant has an id that begins with {given!r}: {hint}")
    if len(meant) > 1:
        more = f" and {len(meant) - MAX_IDS_SHOWN} more" if len(meant) > MAX_IDS_SHOWN else ""
        raise CommandError(
            f"{len(meant)} events have ids that begin with {given!r}: {', '.join(meant[:MAX_IDS_SHOWN])}{more}. Write "
            f"more of it"
        )
    return meant[0]


def _largest_first(groups: Iterable[Group]) -> list[Group]:
    merged: dict[tuple[str, str, str | None], Group] = {}
    for each in groups:
        into = merged.setdefault(
            (each.queue, each.event_type, each.handler), Group(each.queue, each.event_type, each.handler)
        )
        into.letters += each.letters
        into.oldest = min(filter(None, (into.oldest, each.oldest)), default=None)
        into.newest = max(filter(None, (into.newest, each.newest)), default=None)
    return sorted(merged.values(), key=lambda group: -group.letters)
