"""Which letters a command means, as its options say it. All but the reason and the ids the library decides itself."""

import functools
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final, NamedTuple, TypedDict

import click

from dawdle import Dawdle, DeadLetter
from dawdle.cli._values import duration

__all__ = ["Filters", "filter_options", "letters_of"]

Where = Callable[[DeadLetter], object]


class Choice(TypedDict):
    """What `dead_letters()`, `redrive()` and `purge()` take alike."""

    handler: str | None
    older_than: float | None
    newer_than: float | None
    where: Where
    queue: str | None
    foreign: bool


class Filters(NamedTuple):
    """The conditions of one command. One that is not given excludes no letter."""

    types: tuple[str, ...] = ()
    handler: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    reason: str | None = None
    queue: str | None = None
    foreign: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether all letters are meant that the app has, or one of its queues."""
        return self == Filters(queue=self.queue)

    def meets(self, letter: DeadLetter) -> bool:
        """Whether a letter, which the library has chosen, meets the conditions that only the command knows."""
        return self.reason is None or _pattern(self.reason).search(" ".join(letter.error.split())) is not None

    def choice(self, where: Where) -> Choice:
        """Return the options of a call about these letters. `where` is asked last, and asks `meets`."""
        return Choice(
            handler=self.handler,
            older_than=self.older_than,
            newer_than=self.newer_than,
            where=where,
            queue=self.queue,
            foreign=self.foreign,
        )


def letters_of(app: Dawdle, filters: Filters) -> AsyncGenerator[DeadLetter]:
    """Return the letters that are meant. Close it: until then they are hidden from others."""
    return app.dead_letters(*filters.types, **filters.choice(filters.meets))


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose letters; the command gets them as `filters`."""

    @functools.wraps(function)
    def command(
        *args: object,
        types: tuple[str, ...],
        handler: str | None,
        older_than: float | None,
        newer_than: float | None,
        reason: str | None,
        queue: str | None,
        foreign: bool,
        **options: object,
    ) -> object:
        filters = Filters(types, handler, older_than, newer_than, reason, queue, foreign)
        return function(*args, filters=filters, **options)

    decorated: Callable[..., Any] = command
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated


OPTIONS: Final = (
    click.option("--type", "types", multiple=True, metavar="NAME", help="Of this type, by its name on the wire."),
    click.option("--handler", metavar="NAME", help="That this handler gave up."),
    click.option("--reason", metavar="TEXT", help="With this text in the error; * stands for any text."),
    click.option("--older-than", type=duration, metavar="AGE", help="Given up at least so long ago: 90 (s), 5m, 2d."),
    click.option("--newer-than", type=duration, metavar="AGE", help="Given up less than so long ago."),
    click.option("--queue", metavar="NAME", help="Of this queue of the app. Without it: of all."),
    click.option("--foreign", is_flag=True, help="Also those of other queues that share the dead-letter queue."),
)


def _pattern(text: str) -> re.Pattern[str]:
    """Return what finds a text, in which `*` stands for any text, anywhere and in upper or lower case."""
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE)
