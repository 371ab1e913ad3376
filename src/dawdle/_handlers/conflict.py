"""Whether two handlers under one name are one handler, defined again; and what the error says when they are two."""

import sys

from dawdle._handlers.handler import Handler
from dawdle._handlers.handler_name import PROGRAM_MODULES, described, qualified_name
from dawdle._handlers.site import code_of, globals_of, innermost
from dawdle.errors import ConfigurationError

__all__ = ["is_again", "require_apart"]


def require_apart(made: Handler, known: Handler) -> None:
    """Raise `ConfigurationError` for a handler that cannot be told from a known one by a name of both.

    The same function under the same name is that handler once more, and where it is the same object, the options of
    both must agree. So is one that is defined again, when its module is executed again.
    """
    if made.name != known.name:
        shared = ", ".join(name for name in made.names if name in known.names)
        raise ConfigurationError(
            f"the handlers {known.name} and {made.name} both go by {shared}, as a name or an alias: a retry under "
            f"that name could be either's, so take it from one of them"
        )
    if made.function == known.function:
        known.merged(made)
    elif not is_again(made, known):
        raise ConfigurationError(f"the handler name {made.name!r} is taken{_why(made, known)}")


def is_again(made: Handler, known: Handler) -> bool:
    """Whether a handler is the known one, defined again: its module was executed again, by a reload or by hand.

    Two functions that one run of a module has defined are two handlers, also where one factory made both.
    """
    if _place(made) != _place(known):
        return False
    mine, theirs = made.site, known.site
    if mine is not None and theirs is not None:
        if not _is_one_run(made, known) and mine.runs_again(theirs, same_code=_share_code(made, known)):
            return True
        if mine.is_own:
            return False
    return _is_stale(known, made)


def _is_one_run(made: Handler, known: Handler) -> bool:
    """Whether one run of one module registered both; code that is kept may be executed again, for a new module."""
    assert made.site is not None
    assert known.site is not None
    if not made.site.is_same_run(known.site):
        return False
    own = made.site.is_own and known.site.is_own
    return not own or globals_of(made.function) is globals_of(known.function)


def _is_stale(known: Handler, made: Handler) -> bool:
    """Whether a module that was reloaded has the one function where it had the other. It registers neither itself."""
    function: object = sys.modules.get(getattr(made.function, "__module__", None) or "")
    for part in getattr(made.function, "__qualname__", "<locals>").split("."):
        function = getattr(function, part, None)
    return function is made.function and function is not known.function


def _share_code(made: Handler, known: Handler) -> bool:
    code = code_of(made.function)
    return code is not None and code is code_of(known.function)


def _place(handler: Handler) -> tuple[str, str] | None:
    """Return where the function is defined; of a partial, a method and an object, where what they call is."""
    return qualified_name(handler.function) or qualified_name(innermost(handler.function))


def _why(made: Handler, known: Handler) -> str:
    """Say which two handlers these are, and what to do."""
    if _place(made) != _place(known):
        return (
            f" by {_describe(known)}: give {_describe(made)} another with name=, or mark it an alias of the one that "
            f"replaces it"
        )
    twin = _imported_twice(made, known)
    if twin is not None:
        return (
            f", since {twin[0]} is imported twice: it runs as the program (__main__), and another module imports it as "
            f"{twin[1]!r}. Move what others import out of it, into a module of its own"
        )
    if _share_code(made, known):
        return (
            f": {_describe(made)} was registered twice, as a factory, a loop or a decorator makes it. Give each one "
            f"a name of its own with name=, and let a decorator use functools.wraps"
        )
    return (
        f": there is one, {_describe(known)}, and another, {_describe(made)}. Give one of them a name of its own with "
        f"name=, or define it under another"
    )


def _imported_twice(made: Handler, known: Handler) -> tuple[str, str] | None:
    """Return the file, and the module's name, of a program that is also imported."""
    imported = [name for name in (_module(made), _module(known)) if name not in PROGRAM_MODULES]
    code = code_of(made.function)
    return (code.co_filename, imported[0]) if len(imported) == 1 and code is not None else None


def _module(handler: Handler) -> str:
    names = globals_of(handler.function) or {}
    return str(names.get("__name__"))


def _describe(handler: Handler) -> str:
    """Return a function with the file and the line of each that it was written in."""
    code = code_of(handler.function)
    called = described(handler.function)
    return called if code is None else f"{called} ({code.co_filename}, line {code.co_firstlineno})"
