"""How long a receive waits after one that failed, by what sort of failure it was. Kinds in, seconds out.

=============  ==================================================================================================
`unavailable`  the network and the server: 0.1 to 30 s, all of it left to chance, so that nodes come back scattered
`throttled`    asked too often: 1 to 20 s, up to half left to chance
`denied`       credentials or permission, and `missing`, no such queue: 10 to 60 s, up to a quarter left to chance
`refused`      what we asked for cannot be had by asking again: no wait, the error is raised
=============  ==================================================================================================
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from dawdle.errors import FaultKind

__all__ = ["MAX_PAUSE_SECONDS", "needs_operator", "pause_after"]


class _Pause(msgspec.Struct, frozen=True):
    shortest: float
    longest: float
    chance: float
    """The share of a pause that is left to chance."""


_NETWORK: Final = _Pause(0.1, 30.0, 1.0)
_OPERATOR: Final = _Pause(10.0, 60.0, 0.25)
_PAUSES: Final[Mapping[FaultKind, _Pause]] = {
    "throttled": _Pause(1.0, 20.0, 0.5),
    "denied": _OPERATOR,
    "missing": _OPERATOR,
}

MAX_PAUSE_SECONDS: Final = _OPERATOR.longest
"""Seconds between two receives at the most, whatever goes wrong."""


def pause_after(kind: FaultKind, failures: int, random: float) -> float | None:
    """Return the seconds until the next receive, after `failures` (1 or more) in a row; `roll` in [0, 1).

    None: never again, the error is to be raised.
    """
    if kind == "refused":
        return None
    pause = _PAUSES.get(kind, _NETWORK)
    grown = pause.shortest * 2.0 ** min(failures - 1, 30)
    return min(grown, pause.longest) * (1.0 - pause.chance * random)


def needs_operator(kind: FaultKind | None) -> bool:
    """Whether a failure lasts until somebody mends a permission, or makes a queue."""
    return kind in {"denied", "missing"}
