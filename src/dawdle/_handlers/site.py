"""Finds where a handler was registered, and whether that code is executed again. Reads frames, runs no function.

Two handlers under one name are a mistake: one of them would never run. But a module that is executed again defines its
handlers again, and the new ones replace the old. Only the run of the module tells the two cases apart:

    one run of a module              a factory or a decorator called twice, two functions of one name: two handlers
    another run of the same module   importlib.reload, a second import: the same handler again
    a cell, or a line at a prompt    each is a run of its own, of a module without a file. The same cell again, or
                                     another that defines the name, replaces. One function that is called from two
                                     cells makes two handlers

A run is identified by its code object, since the code of a module is read or compiled anew for each run. The reference
is weak. Most modules drop their code once they are imported, and a dead reference means that the run is over.
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
    """The innermost module that was executed when a handler was registered."""

    module: str
    file: str | None
    """The module's `__file__`; None for a cell, and for a line at a prompt."""
    source: str
    """The file name in its code; for a cell it is a name that changes with the text."""
    line: int
    run: "ref[CodeType]"
    is_own: bool
    """The handler's function belongs to that module."""

    def is_same_run(self, other: "Site") -> bool:
        """Whether both were registered during one execution of the same code."""
        code = self.run()
        return code is not None and code is other.run()

    def runs_again(self, known: "Site", *, same_code: bool) -> bool:
        """Whether this is another run of the code that registered the known handler.

        `same_code`: both handlers have the same code, which ran twice.
        """
        # Two programs are both called `__main__`, so there the file must agree as well.
        if self.module != known.module or (self.module == "__main__" and self.file != known.file):
            return False
        if self.file is not None:
            return True
        # Cells from here on. One with another text may define the same function again, but one function that both of
        # them call is registered twice by mistake.
        if self.source != known.source:
            return not same_code
        return self.line == known.line and not (same_code and self.source.startswith("<"))  # all prompts are <stdin>


def current_site(function: object) -> Site | None:
    """Return the innermost module that is executed right now; None if the registration is in no module's code."""
    # The registration may come from a factory or a decorator, so its caller's frames are searched for a module's own.
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
    """Whether a frame executes a module or a cell. The flag is asked first: reading a function's locals copies them."""
    return not frame.f_code.co_flags & inspect.CO_OPTIMIZED and frame.f_locals is frame.f_globals


def innermost(function: object) -> object:
    """Return the function inside of a partial, a method, an object or a decorator with `functools.wraps`."""
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
    """Return the code of the innermost function; None if that is not written in Python."""
    return getattr(innermost(function), "__code__", None)


def globals_of(function: object) -> dict[str, object] | None:
    """Return the global names of the innermost function's module."""
    return getattr(innermost(function), "__globals__", None)
