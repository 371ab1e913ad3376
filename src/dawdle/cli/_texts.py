"""Texts for people: ages, counts, and strangers' texts that must not steer a terminal."""

from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from typing import Final

__all__ = ["age", "counted", "did_you_mean", "one_line", "printable"]

UNITS: Final = (("d", 86400, 2 * 86400), ("h", 3600, 2 * 3600), ("m", 60, 120), ("s", 1, 0))
"""A unit, its seconds, and from how many seconds on it is used."""


def age(since: datetime | None, now: datetime) -> str:
    """Return an age in one unit, such as `45s`, `90m` or `3d`; `?` if it is not known."""
    if since is None:
        return "?"
    seconds = max(0.0, (now - since).total_seconds())
    unit, size = next((unit, size) for unit, size, least in UNITS if seconds >= least)
    return f"{int(seconds // size)}{unit}"


def counted(count: int, what: str) -> str:
    """Return `1 dead letter` or `1,200 dead letters`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a text about a name that is not known: the one that may be meant, or else all."""
    names = sorted(known)
    near = get_close_matches(name, names, 1)
    return f": did you mean {near[0]!r}?" if near else f"; known are {', '.join(names) or 'none'}"


def printable(text: str) -> str:
    """Return a text of a stranger with `?` for each character that could steer a terminal."""
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


def one_line(text: str) -> str:
    """Return a text of a stranger in one line."""
    return printable(" ".join(text.split()))
