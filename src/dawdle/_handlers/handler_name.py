"""The default name of a handler. It is the same under every entry point, so that a retry finds its handler."""

import sys
from collections.abc import Callable
from typing import Final

from dawdle._handlers.site import globals_of
from dawdle.errors import ConfigurationError
from dawdle.events import HANDLER_NAME

__all__ = ["NAME", "PROGRAM_MODULES", "default_name", "described", "qualified_name"]

NAME: Final = HANDLER_NAME

PROGRAM_MODULES: Final = ("__main__", "__mp_main__")
"""The names of the module that runs as the program; the second in a process that multiprocessing has started."""


def default_name(function: Callable[..., object]) -> str:
    """Return `module.qualname`. Raises `ConfigurationError` for a callable without it, and for an invalid name."""
    found = qualified_name(function)
    if found is None:
        raise ConfigurationError(f"handler {described(function)} has no name of its own: give it one with name=")
    name = f"{found[0]}.{found[1]}".replace(".<locals>", "").replace("<lambda>", "lambda")
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"handler {described(function)} cannot have the name {name!r}: give it one of 1 to 200 letters with name="
        )
    return name


def qualified_name(function: object) -> tuple[str, str] | None:
    """Return module and qualname of a function; None if it has none.

    For the module that runs as the program it is the name in `python -m shop.worker`, or the stem of a script's file.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not qualname or not module:
        return None
    # A retry may come to a process with another entry point. There the same file is no `__main__`, but a module.
    if module in PROGRAM_MODULES:
        own = globals_of(function) or {}
        names = own if own.get("__name__") in PROGRAM_MODULES else vars(sys.modules["__main__"])
        spec, path = names.get("__spec__"), names.get("__file__")
        if spec is not None:
            module = str(getattr(spec, "name", "")).removesuffix(".__main__")
        elif path is not None:
            stem = str(path).replace("\\", "/").rpartition("/")[2].partition(".")[0]
            module = stem if NAME.fullmatch(stem) else "main"  # `<stdin>` and the like are no names of modules
    return module, qualname


def described(function: object) -> str:
    """Return the name of a function in an error."""
    return getattr(function, "__qualname__", None) or repr(function)
