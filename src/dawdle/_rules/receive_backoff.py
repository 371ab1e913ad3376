"""Decides how long a worker waits after a failed receive. Reasons in, seconds out; it does not wait itself.

=============  ==================================================================================================
`unavailable`  the network and the server: 0.1 to 30 s, all of it random, so that the nodes come back scattered
`throttled`    too many requests: 1 to 20 s, up to half of it random
`denied`       credentials or permission, and `missing`, no such queue: 10 to 60 s, up to a quarter of it random
`refused`      asking again cannot help: no wait, the error is raised
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
    """The share of a pause that is random."""


_NETWORK: Final = _Pause(0.1, 30.0, 1.0)
_OPERATOR: Final = _Pause(10.0, 60.0, 0.25)
_PAUSES: Final[Mapping[FaultKind, _Pause]] = {
    "throttled": _Pause(1.0, 20.0, 0.5),
    "denied": _OPERATOR,
    "missing": _OPERATOR,
}

MAX_PAUSE_SECONDS: Final = _OPERATOR.longest
"""Seconds of the longest pause between two receives, whatever fails."""


def pause_after(kind: FaultKind, failures: int, random: float) -> float | None:
    """Return the seconds until the next receive, after `failures` (1 or more) in a row; `random` is in [0, 1).

    None: there is no next receive, and the error is raised.
    """
    if kind == "refused":
        return None
    pause = _PAUSES.get(kind, _NETWORK)
    # The exponent is bounded: after 1,024 failures the power would not fit into a float.
    grown = pause.shortest * 2.0 ** min(failures - 1, 30)
    return min(grown, pause.longest) * (1.0 - pause.chance * random)


def needs_operator(kind: FaultKind | None) -> bool:
    """Whether a failure lasts until an operator acts: grants a permission, renews credentials, or makes a queue."""
    return kind in {"denied", "missing"}
