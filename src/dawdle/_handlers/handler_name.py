"""What a handler goes by when nobody names it, such that a retry finds it under any entry point."""

import sys
from collections.abc import Callable
from typing import Final

from dawdle._handlers.site import globals_of
from dawdle.errors import ConfigurationError
from dawdle.events import HANDLER_NAME

__all__ = ["NAME", "PROGRAM_MODULES", "default_name", "described", "qualified_name"]

NAME: Final = HANDLER_NAME

PROGRAM_MODULES: Final = ("__main__", "__mp_main__")
"""What the module of the program is called while it runs."""


def default_name(function: Callable[..., object]) -> str:
    """Return `module.qualname`. Raises `ConfigurationError` for what has none, and for what cannot be a name."""
    found = qualified_name(function)
    if found is None:
        raise ConfigurationError(f"handler {described(function)} has no name of its own: give it one with name=")
    name = f"{found[0]}.{found[1]}".replace(".<locals>", "").replace("<lambda>", "lambda")
    if not NAME.fullmatch(name):
        raise ConfigurationError(
            f"handler {described(function)} cannot go by {name!r}: give it a name of 1 to 200 letters with name="
        )
    return name


def qualified_name(function: object) -> tuple[str, str] | None:
    """Return module and qualname, None for what has none.

    The module of the program is `__main__`, and `__mp_main__` in a process that multiprocessing has started. What
    stands for it is the module's name of `python -m shop.worker`, and of a script its file's stem.
    """
    qualname = getattr(function, "__qualname__", None)
    module = getattr(function, "__module__", None)
    if not qualname or not module:
        return None
    if module in PROGRAM_MODULES:
        own = globals_of(function) or {}
        names = own if own.get("__name__") in PROGRAM_MODULES else vars(sys.modules["__main__"])
        spec, path = names.get("__spec__"), names.get("__file__")
        if spec is not None:
            module = str(getattr(spec, "name", "")).removesuffix(".__main__")
        elif path is not None:
            stem = str(path).replace("\\", "/").rpartition("/")[2].partition(".")[0]
            module = stem if NAME.fullmatch(stem) else "main"  # <stdin>, and the like
    return module, qualname


def described(function: object) -> str:
    """Return what an error calls a function."""
    return getattr(function, "__qualname__", None) or repr(function)
