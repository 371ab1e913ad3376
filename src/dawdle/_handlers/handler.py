"""One handler: the types that it takes, its name and its options. Runs nothing."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from dawdle._handlers.around import Around
from dawdle._handlers.call_signature import CallSignature
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
from dawdle.events import is_call

__all__ = ["Function", "Handler", "Options", "read_handler"]

Function = Callable[..., object]


class Handler(msgspec.Struct, frozen=True):
    """A function with the events that it takes, and its options."""

    function: Function
    name: str
    types: tuple[type, ...]
    """Empty: every event."""
    options: Options
    takes_context: bool
    is_async: bool
    site: Site | None = None
    """Where it was registered. It tells a module that is executed again from a second handler."""
    around: tuple[Around, ...] = ()
    """What is entered about each run in one app, outermost first: the app's, its registries', and its own."""

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and its aliases, which are its names of before."""
        return (self.name, *self.options.aliases)

    @property
    def is_function(self) -> bool:
        """Whether it runs a function for its calls, and takes no events."""
        return bool(self.types) and is_call(self.types[0])

    @property
    def max_attempts(self) -> int | None:
        """How often it is tried; None: as often as the app says."""
        return None if self.options.retry is None else self.options.retry.max_attempts

    def matches(self, event_type: type) -> bool:
        """Whether events of exactly this class go to this handler. A call goes to its function, and to no other."""
        if is_call(event_type):
            return event_type in self.types
        if self.types and not issubclass(event_type, self.types):
            return False
        return not issubclass(event_type, self.options.exclude)

    def merged(self, other: "Handler") -> "Handler":
        """Return this handler with the other's types and options too: two `on_event` on one function.

        Raises `ConfigurationError` for an option that both give with different values.
        """
        # No types mean every event, so if one of the two has none, together they have none.
        both = (*self.types, *(event_type for event_type in other.types if event_type not in self.types))
        options = self.options.merged(other.options, self.name)
        return msgspec.structs.replace(self, types=both if self.types and other.types else (), options=options)


def read_handler(
    function: Function, event_types: Sequence[type], options: Options, *, every: bool, names: Mapping[str, object]
) -> Handler:
    """Return the handler of a function and its options.

    Without `event_types` the types come from the first parameter's annotation. With `every`, no annotation means every
    event. `names` are local names that a quoted annotation may use. Raises `ConfigurationError` for an object that
    cannot be called with an event.
    """
    if isinstance(function, staticmethod):
        function = function.__func__  # the function that a call runs; only it says whether it is async
    if not callable(function):
        raise ConfigurationError(f"a handler is a function, not {shown(function)}")
    called = described(function)
    if isinstance(getattr(function, "signature", None), CallSignature):
        raise ConfigurationError(
            f"{called} is a function for dawdle.call, and a call is no event: write @dawdle.function above another "
            f"function, which the handler calls"
        )
    if yields(function):
        raise ConfigurationError(f"handler {called} is a generator, and a handler is awaited once: remove the yield")
    first, takes_context = read_parameters(function, called, names)
    if not event_types:
        event_types = read_annotation(first, called, every=every)
    for event_type in (*event_types, *options.exclude):
        require_event_class(event_type, f"handler {called}")
    if any(event_type is each for event_type in event_types for each in ANY_EVENT):
        event_types = ()
    return Handler(
        function=function,
        name=options.name or default_name(function),
        types=tuple(dict.fromkeys(event_types)),
        options=options,
        takes_context=takes_context,
        is_async=is_async(function),
        site=current_site(function),
    )
