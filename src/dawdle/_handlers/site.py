"""Where a handler was registered, and whether that place is being run again. Reads frames and functions, runs none.

Two handlers under one name are a mistake, and one of them would never run; a module that is executed again defines
its handlers again, and the new ones take the place of the old. Only the run of the module tells the two apart:

    one run of a module              a factory or a decorator called twice, two functions of one name: two handlers
    another run of the same module   importlib.reload, a second import: the same handler once more
    a cell, or a line at a prompt    each is a run of its own, of a module that has no file. The same cell again, or
                                     another that defines the name anew, replaces; one function called from two
                                     cells made two handlers

A run is known by its code object: each time a module is executed its code is read or compiled anew. The reference is
weak, and most modules let go of their code when they are imported: that run is over.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, cast
from weakref import ref

import msgspec

__all__ = ["Site", "code_of", "current_site", "globals_of", "innermost"]


class Site(msgspec.Struct, frozen=True):
    """The innermost module that was being executed when a handler was registered."""

    module: str
    file: str | None
    """The module's `__file__`; None of a cell, and of what is typed at a prompt."""
    source: str
    """What its code says it was read from: of a cell, a name that changes with the text."""
    line: int
    run: "ref[CodeType]"
    is_own: bool
    """The handler's function belongs to that module."""

    def is_same_run(self, other: "Site") -> bool:
        """Whether both were registered while the same code was being executed, once."""
        code = self.run()
        return code is not None and code is other.run()

    def runs_again(self, known: "Site", *, same_code: bool) -> bool:
        """Whether this is another run of the place where the known handler was registered.

        `same_code`: both handlers are made by one piece of code, which ran twice.
        """
        if self.module != known.module or (self.module == "__main__" and self.file != known.file):
            return False
        if self.file is not None:
            return True
        if self.source != known.source:
            return not same_code
        return self.line == known.line and not (same_code and self.source.startswith("<"))  # all prompts are <stdin>


def current_site(function: object) -> Site | None:
    """Return which module is being executed right now, to register this function; None where none is."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - there is no public way
    while frame is not None and not _is_module(frame):
        frame = frame.f_back
    if frame is None:
        return None
    names, code = frame.f_globals, frame.f_code
    return Site(
        module=str(names.get("__name__")),
        file=cast("str | None", names.get("__file__")),
        source=code.co_filename,
        line=frame.f_lineno,
        run=ref(code),
        is_own=globals_of(function) is names,
    )


def _is_module(frame: FrameType) -> bool:
    """Whether a frame executes a module or a cell. Only then its locals are looked at: a function's would be copied."""
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED and frame.f_locals is frame.f_globals


def innermost(function: object) -> object:
    """Return the function that was written: not the partial, the method, the object or the decorator around it."""
    while True:
        if isinstance(function, functools.partial):
            function = cast("functools.partial[object]", function).func
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = inspect.unwrap(cast("Callable[..., Any]", function))
        else:
            call = None if hasattr(function, "__code__") else getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted
            if not inspect.isfunction(call):
                return function
            function = call


def code_of(function: object) -> CodeType | None:
    """Return the code of the function that was written; None of one that is not written in Python."""
    return getattr(innermost(function), "__code__", None)


def globals_of(function: object) -> dict[str, object] | None:
    """Return the names of the module of the function that was written."""
    return getattr(innermost(function), "__globals__", None)
