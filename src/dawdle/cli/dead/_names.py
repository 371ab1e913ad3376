"""Tells a mistyped handler or type from one that has no dead letters at the moment."""

from contextlib import aclosing
from typing import Final

from dawdle import ConfigurationError, Dawdle
from dawdle.cli._running import CommandError
from dawdle.cli._texts import did_you_mean
from dawdle.cli.dead._filters import Filters, letters_of

__all__ = ["require_known_names"]

UNDECODABLE: Final = "dawdle.undecodable"
"""The type of a letter that is no event. No app has it."""


async def require_known_names(app: Dawdle, filters: Filters) -> None:
    """Raise `CommandError` for a handler or a type that neither the app nor any letter has.

    Ask it when no letter is meant. The app is entered. One without handlers, as that of the `DAWDLE_*` variables, does
    not know which names there are, so there none is wrong.
    """
    described = app.describe()
    handlers = {name for each in described.handlers for name in (each.name, *each.aliases)}
    handlers.update(name for each in described.functions for name in (each.name, *each.aliases))
    if not handlers:
        return
    unknown_types = [name for name in filters.types if name != UNDECODABLE and not _knows(app, name)]
    unknown_handlers = [] if filters.handler is None or filters.handler in handlers else [filters.handler]
    if not unknown_types and not unknown_handlers:
        return
    types = {name for each in described.event_types for name in (each.name, *each.aliases)}
    # A letter may be of a handler or a type that the code has no more. Other conditions may have left it out.
    async with aclosing(letters_of(app, Filters(queue=filters.queue, foreign=filters.foreign))) as letters:
        async for letter in letters:
            types.add(letter.event_type)
            if letter.handler is not None:
                handlers.add(letter.handler)
    for what, unknown, known in (("handler", unknown_handlers, handlers), ("type", unknown_types, types)):
        for name in unknown:
            if name not in known:
                raise CommandError(
                    f"neither this app nor any dead letter has the {what} {name!r}{did_you_mean(name, known)}"
                )


def _knows(app: Dawdle, name: str) -> bool:
    try:
        return app.event_type(name) is not None
    except ConfigurationError:  # two types have the name
        return True
