"""The options of a handler. They are checked where they are written; what they do is done elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from math import inf
from typing import Any, TypedDict, cast

import msgspec

from dawdle._handlers.around import Around, read_around
from dawdle._handlers.handler_name import NAME
from dawdle._rules.retry import Retry
from dawdle.errors import ConfigurationError, shown, to_seconds

__all__ = ["HandlerOptions", "Options", "read_options", "require_known", "timeout_of"]


class HandlerOptions(TypedDict, total=False):
    """The options of `on_event` and `register`; the docstring of `Registry.on_event` says what each does."""

    name: str
    aliases: Sequence[str]
    exclude: Sequence[type]
    retry: Retry
    timeout: float | timedelta
    concurrency: int
    queue: str
    around: Around | Sequence[Around]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one handler; None or () if an option was not given."""

    name: str | None = None
    aliases: tuple[str, ...] = ()
    exclude: tuple[type, ...] = ()
    retry: Retry | None = None
    timeout: float | None = None
    concurrency: int | None = None
    queue: str | None = None
    around: tuple[Around, ...] = ()

    def __post_init__(self) -> None:
        # msgspec checks types only when it decodes. These values come from the user's code, and may be of any type.
        for name in self.aliases if self.name is None else (self.name, *self.aliases):
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ConfigurationError(
                    f"a handler's name is 1 to 200 of letters, digits, '_', '.', ':', '-', not {shown(name)}"
                )
        if self.retry is not None and not isinstance(self.retry, Retry):
            raise ConfigurationError(f"retry is a dawdle.Retry(…), not {shown(self.retry)}")
        if self.timeout is not None:
            msgspec.structs.force_setattr(self, "timeout", timeout_of(self.timeout))
        if self.concurrency is not None and not (_is_whole(self.concurrency) and self.concurrency >= 1):
            raise ConfigurationError(f"concurrency is a whole number of 1 or more, not {shown(self.concurrency)}")
        if self.queue is not None and not (isinstance(self.queue, str) and self.queue):
            raise ConfigurationError(f"queue is the name of a queue of the app, not {shown(self.queue)}")

    def merged(self, other: "Options", called: str) -> "Options":
        """Return the options of two `on_event` on one function together.

        Raises `ConfigurationError` for an option that both give with different values.
        """
        both: dict[str, object] = {}
        for option in self.__struct_fields__:
            mine, theirs = getattr(self, option), getattr(other, option)
            same = mine == theirs if option == "around" else _same(mine, theirs)  # the outermost first
            if option != "name" and mine and theirs and not same:
                raise ConfigurationError(
                    f"handler {called} has both {option}={shown(mine)} and {option}={shown(theirs)}: give the option "
                    f"once, or register the function under two names"
                )
            both[option] = mine or theirs
        return Options(**cast("dict[str, Any]", both))


def require_known(options: Mapping[str, object], known: type, what: str) -> None:
    """Raise `ConfigurationError` for an option that a typed dict lacks; the text says what it is an option of."""
    unknown = set(options) - set(known.__annotations__)
    if unknown:
        raise ConfigurationError(
            f"{what} has no option {', '.join(sorted(unknown))}; its options are {', '.join(known.__annotations__)}"
        )


def read_options(options: HandlerOptions) -> Options:
    """Return the given options, checked. Raises `ConfigurationError` for one that does not exist."""
    require_known(options, HandlerOptions, "a handler")
    aliases: object = options.get("aliases", ())
    exclude: object = options.get("exclude", ())
    if isinstance(aliases, str) or not isinstance(aliases, Iterable):
        raise ConfigurationError(f"aliases is a sequence of names, such as aliases=('old.name',), not {shown(aliases)}")
    if isinstance(exclude, type):
        exclude = (exclude,)
    if not isinstance(exclude, Iterable):
        raise ConfigurationError(f"exclude is a sequence of event types, such as exclude=(A, B), not {shown(exclude)}")
    return Options(
        name=options.get("name"),
        aliases=tuple(cast("Iterable[str]", aliases)),
        exclude=tuple(cast("Iterable[type]", exclude)),
        retry=options.get("retry"),
        timeout=cast("float | None", options.get("timeout")),
        concurrency=options.get("concurrency"),
        queue=options.get("queue"),
        around=read_around(options.get("around", ())),
    )


def timeout_of(given: object) -> float:
    """Return a timeout in seconds; `inf`: no timeout, not even the app's. Raises `ConfigurationError`."""
    return to_seconds(given, "timeout is", most=inf, above=True)


def _same(mine: object, theirs: object) -> bool:
    """Whether two values of one option mean the same. The order of names and types has no meaning."""
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return set(cast("tuple[object, ...]", mine)) == set(cast("tuple[object, ...]", theirs))
    return mine == theirs


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
