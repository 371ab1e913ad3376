"""One handler: what it takes, what it is called, how it wants to be run. Runs nothing."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from dawdle._handlers.handler_name import default_name, described
from dawdle._handlers.options import Options
from dawdle._handlers.signature import (
    ANY_EVENT,
    is_async,
    read_annotation,
    read_parameters,
    require_event_class,
    yields,
)
from dawdle._handlers.site import Site, current_site
from dawdle.errors import ConfigurationError, shown

__all__ = ["Function", "Handler", "Options", "read_handler"]

Function = Callable[..., object]


class Handler(msgspec.Struct, frozen=True):
    """A function that wants events."""

    function: Function
    name: str
    types: tuple[type, ...]
    """Empty: every event."""
    options: Options
    takes_context: bool
    is_async: bool
    site: Site | None = None
    """Where it was registered, so that a module that is executed again is told from a second handler."""

    @property
    def names(self) -> tuple[str, ...]:
        """What it goes by, and what it went by before."""
        return (self.name, *self.options.aliases)

    def matches(self, kind: type) -> bool:
        """Whether events of exactly this class go to this handler."""
        if self.types and not issubclass(kind, self.types):
            return False
        return not issubclass(kind, self.options.exclude)

    def merged(self, other: "Handler") -> "Handler":
        """Return this handler, with the other's types and options as well: two `on_event` on one function.

        Raises `ConfigurationError` for an option that both give, and not the same.
        """
        both = (*self.types, *(kind for kind in other.types if kind not in self.types))
        options = self.options.merged(other.options, self.name)
        return msgspec.structs.replace(self, types=both if self.types and other.types else (), options=options)


def read_handler(
    function: Function, kinds: Sequence[type], options: Options, *, every: bool, names: Mapping[str, object]
) -> Handler:
    """Return the handler that a function and its options make.

    Without `kinds` the types come from the first parameter's annotation; where there is none it is `every` event.
    `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for what cannot be called
    with an event.
    """
    if isinstance(function, staticmethod):
        function = function.__func__  # what a call of it runs, and what says whether that is async
    if not callable(function):
        raise ConfigurationError(f"a handler is a function, not {shown(function)}")
    called = described(function)
    if yields(function):
        raise ConfigurationError(f"handler {called} yields: a handler is awaited once, so it must not be a generator")
    first, takes_context = read_parameters(function, called, names)
    if not kinds:
        kinds = read_annotation(first, called, every=every)
    for kind in (*kinds, *options.exclude):
        require_event_class(kind, f"handler {called}")
    if any(kind is each for kind in kinds for each in ANY_EVENT):
        kinds = ()
    return Handler(
        function=function,
        name=options.name or default_name(function),
        types=tuple(dict.fromkeys(kinds)),
        options=options,
        takes_context=takes_context,
        is_async=is_async(function),
        site=current_site(function),
    )
