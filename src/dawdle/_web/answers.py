"""What a web app answers about its app: the three probes, and an event that could not be stored. Knows no framework."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from dawdle import Dawdle, Health
from dawdle._web.monitor import not_ready
from dawdle.errors import BackendError, EventTooLargeError, SignalError

__all__ = ["PROBES", "Answer", "ProbeName", "answer_to", "probe"]

ProbeName = Literal["live", "ready", "health"]
"""`live`: should this process go on. `ready`: should it get requests. `health`: all that is known."""

PROBES: Final[tuple[ProbeName, ...]] = ("live", "ready", "health")

RETRY_SECONDS: Final = 5
"""Seconds after which a client may try again what failed by the network or by too many requests."""

OPERATOR_RETRY_SECONDS: Final = 60
"""The same where an operator must act first: credentials, a permission or the queue are missing."""

_CONTENT_TOO_LARGE: Final = 413
_UNAVAILABLE: Final = 503


class Answer(msgspec.Struct, frozen=True):
    """A response: its HTTP status, its headers, and its body, which is JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    status: Literal["live", "dead", "ready", "not ready"]
    reason: str | None = None


class _Failure(msgspec.Struct, frozen=True):
    detail: str


class _Report(msgspec.Struct, frozen=True):
    ready: bool
    reasons: tuple[str, ...]
    health: Health


def probe(app: Dawdle | None, name: ProbeName) -> Answer:
    """Return the answer to a probe, 200 or 503; never raises, and makes no request. None: no app is entered.

    - `live`: 503 only if the app has died, which a restart mends.
    - `ready`: 503 with the cause in one line while the queue is not open, has not answered yet or cannot be reached,
      when the event loop was blocked within the last 10 s, and while the app stops.
    - `health`: what `app.health()` says, and 503 when `ready` is.

    The causes may name the queue and its account: keep `ready` and `health` from the public.
    """
    health = Health(healthy=False, state="not entered") if app is None else app.health()
    if name == "live":
        if health.state == "died":
            return _answer(_UNAVAILABLE, _Probe("dead", "; ".join(health.reasons)))
        return _answer(200, _Probe("live"))
    no_app = "no app is entered: give the web app dawdle's lifespan"
    reasons = (no_app,) if app is None else not_ready(app)
    status = _UNAVAILABLE if reasons else 200
    if name == "health":
        return _answer(status, _Report(not reasons, reasons, health))
    return _answer(status, _Probe("not ready", reasons[0]) if reasons else _Probe("ready"))


def answer_to(error: Exception) -> Answer | None:
    """Return what to answer when an event could not be stored, or None for an error that is a 500 as any other.

    503 with `Retry-After` where the same signal may succeed later: the queue cannot be reached, asks for fewer
    requests, does not exist, or denies access. 413 for an event that is larger than its queue takes. What is wrong with
    the code or the settings, such as a type that cannot travel, is None. The answer names neither queue nor cause.
    """
    failures = tuple(error.failed.values()) if isinstance(error, SignalError) else (error,)
    if all(isinstance(each, EventTooLargeError) for each in failures):
        return _answer(_CONTENT_TOO_LARGE, _Failure("too large to be stored as an event"))
    faults = [each for each in failures if isinstance(each, BackendError) and each.retryable]
    if len(faults) < len(failures):
        return None
    seconds = max(OPERATOR_RETRY_SECONDS if each.kind in {"denied", "missing"} else RETRY_SECONDS for each in faults)
    detail = "not stored, try again later"
    if isinstance(error, SignalError) and error.stored:
        detail = "only a part was stored: what was may be handled twice if you try again"
    elif any(each.uncertain for each in faults):
        detail = "may or may not be stored: it may be handled twice if you try again"
    return _answer(_UNAVAILABLE, _Failure(detail), {"retry-after": str(seconds)})


def _answer(status: int, body: msgspec.Struct, headers: Mapping[str, str] | None = None) -> Answer:
    always = {"content-type": "application/json", "cache-control": "no-store"}
    return Answer(status, {**always, **(headers or {})}, msgspec.json.encode(body))
