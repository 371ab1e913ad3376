"""Which keys a person has pressed, and what they change of the view. Pure; `q` and signals are elsewhere."""

import re
from typing import Final

from dawdle.cli.top._frame import SORTS, View

__all__ = ["keys_of", "view_after"]

_KEY: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Za-z]|.", re.DOTALL)
"""An arrow and its like are several characters, the first of which is Escape."""

# A terminal sends the second where an application has asked for it.
_FORWARD: Final = {" ", "j", "\x1b[B", "\x1bOB", "\x1b[6~"}  # down, page down
_BACK: Final = {"k", "\x1b[A", "\x1bOA", "\x1b[5~"}


def keys_of(text: str) -> list[str]:
    """Return the keys in what a terminal sent."""
    return _KEY.findall(text)


def view_after(view: View, key: str) -> View:
    """Return what is shown after a key."""
    if len(key) == 1:
        key = key.lower()
    if view.help and key in _FORWARD | _BACK:
        return view._replace(page=view.page + (1 if key in _FORWARD else -1))
    match key:
        case "s":
            return view._replace(sort=SORTS[(SORTS.index(view.sort) + 1) % len(SORTS)])
        case "p" | " ":
            return view._replace(paused=not view.paused)
        case "?" | "h":
            return view._replace(help=not view.help, page=0)
        case "\x1b":
            return view._replace(help=False, page=0)
        case _:
            return view
