"""Decides whether two handlers under one name are one that was defined again, and writes the error if they are two.

Registers nothing. An error at registration is worth much: with two handlers under one name, one of them would never
run.
"""

import sys

from dawdle._handlers.handler import Handler
from dawdle._handlers.handler_name import PROGRAM_MODULES, described, qualified_name
from dawdle._handlers.site import code_of, globals_of, innermost
from dawdle.errors import ConfigurationError

__all__ = ["is_again", "require_apart"]


def require_apart(made: Handler, known: Handler) -> None:
    """Raise `ConfigurationError` if a handler and a known one are two, and share a name or an alias.

    The same function object under the same name is the same handler, and the options of both must agree. A function
    that is defined again, because its module is executed again, is the same handler too.
    """
    if made.name != known.name:
        shared = ", ".join(name for name in made.names if name in known.names)
        raise ConfigurationError(
            f"the handlers {known.name} and {made.name} both have {shared} as a name or an alias, and a retry under "
            f"that name could belong to either: remove it from one of them"
        )
    if made.function == known.function:
        known.merged(made)  # raises if the options of both differ
    elif not is_again(made, known):
        raise ConfigurationError(f"the handler name {made.name!r} is taken{_why(made, known)}")


def is_again(made: Handler, known: Handler) -> bool:
    """Whether a handler is the known one, defined again: its module was executed again, by a reload or by hand.

    Two functions that one run of a module defined are two handlers, also if one factory made both.
    """
    if _defined_as(made) != _defined_as(known):
        return False
    mine, theirs = made.site, known.site
    if mine is not None and theirs is not None:
        if not _is_one_run(made, known) and mine.runs_again(theirs, same_code=_share_code(made, known)):
            return True
        if mine.is_own:
            return False
    # It was registered by a call from another module, so the runs say nothing about it.
    return _is_stale(known, made)


def _is_one_run(made: Handler, known: Handler) -> bool:
    """Whether one run of one module registered both."""
    assert made.site is not None
    assert known.site is not None
    if not made.site.is_same_run(known.site):
        return False
    # A loader may keep the code and execute it again, for a new module. Then only the modules' globals differ.
    own = made.site.is_own and known.site.is_own
    return not own or globals_of(made.function) is globals_of(known.function)


def _is_stale(known: Handler, made: Handler) -> bool:
    """Whether a reloaded module now has the new function under the name of the known one."""
    # The module is looked up by name: after a reload it holds the new functions, and the registry still the old ones.
    function: object = sys.modules.get(getattr(made.function, "__module__", None) or "")
    for part in getattr(made.function, "__qualname__", "<locals>").split("."):
        function = getattr(function, part, None)
    return function is made.function and function is not known.function


def _share_code(made: Handler, known: Handler) -> bool:
    code = code_of(made.function)
    return code is not None and code is code_of(known.function)


def _defined_as(handler: Handler) -> tuple[str, str] | None:
    """Return module and qualname of a function; of a partial, a method or an object, those of what it calls."""
    return qualified_name(handler.function) or qualified_name(innermost(handler.function))


def _why(made: Handler, known: Handler) -> str:
    """Return which two handlers these are, and what to do."""
    if _defined_as(made) != _defined_as(known):
        return (
            f" by {_describe(known)}: give {_describe(made)} another name with name=, or make the name an alias of the "
            f"handler that replaces it"
        )
    twin = _imported_twice(made, known)
    if twin is not None:
        return (
            f", since {twin[0]} is imported twice: it runs as the program (__main__), and another module imports it as "
            f"{twin[1]!r}. Move the code that others import into a module of its own"
        )
    if _share_code(made, known):
        return (
            f": {_describe(made)} was registered twice, by a factory, a loop or a decorator. Give each handler a name "
            f"of its own with name=, and use functools.wraps in a decorator"
        )
    return (
        f": there are two functions, {_describe(known)} and {_describe(made)}. Give one of them a name of its own with "
        f"name=, or rename it"
    )


def _imported_twice(made: Handler, known: Handler) -> tuple[str, str] | None:
    """Return file and module name of a program that is also imported as a module; None if that is not the case."""
    imported = [name for name in (_module(made), _module(known)) if name not in PROGRAM_MODULES]
    code = code_of(made.function)
    return (code.co_filename, imported[0]) if len(imported) == 1 and code is not None else None


def _module(handler: Handler) -> str:
    names = globals_of(handler.function) or {}
    return str(names.get("__name__"))


def _describe(handler: Handler) -> str:
    """Return the name of a function with the file and the line of its definition."""
    code = code_of(handler.function)
    called = described(handler.function)
    return called if code is None else f"{called} ({code.co_filename}, line {code.co_firstlineno})"
