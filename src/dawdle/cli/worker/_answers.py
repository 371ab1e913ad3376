"""What a worker with several processes answers on its port. Joins what the processes have answered; asks none."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

__all__ = ["Reply", "Seen", "health", "live", "ready", "stats"]


class Reply(msgspec.Struct, frozen=True):
    """An answer: its HTTP status, and its body, which is JSON."""

    status: int
    body: bytes


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process as its supervisor sees it."""

    process: int
    """Its place, from 1 on."""
    pid: int | None = None
    """None: none runs there now."""
    state: Literal["starting", "working", "stopping", "ended"] = "ended"
    rss: int | None = None
    """Bytes of its memory."""
    status: int | None = None
    """The HTTP status of its own answer; None: it has not answered in time."""
    answer: msgspec.Raw | None = None
    """Its own answer."""


class _Probe(msgspec.Struct, frozen=True, omit_defaults=True):
    status: str
    reason: str | None = None


class _Report(msgspec.Struct, frozen=True):
    ready: bool
    reasons: tuple[str, ...]
    processes: tuple[Seen, ...]


def live(seen: Sequence[Seen]) -> Reply:
    """Answer whether the worker should go on: 503 only if it has processes that work, and none of them answers.

    A single process that has died or hangs is no reason to end the others; the first is started again.
    """
    working = [each for each in seen if each.state == "working"]
    if working and not any(each.status == 200 for each in working):
        return _reply(503, _Probe("dead", "no process answers: their event loops are blocked"))
    return _reply(200, _Probe("live"))


def ready(seen: Sequence[Seen], places: int) -> Reply:
    """Answer whether the worker is at full strength: a process works in each place, and is ready itself."""
    reasons = _reasons(seen, places)
    return _reply(503, _Probe("not ready", reasons[0])) if reasons else _reply(200, _Probe("ready"))


def health(seen: Sequence[Seen], places: int) -> Reply:
    """Answer all that is known, for a person."""
    reasons = _reasons(seen, places)
    return _reply(503 if reasons else 200, _Report(not reasons, reasons, tuple(seen)))


def stats(bodies: Sequence[bytes]) -> Reply:
    """Join the lists of figures of the processes in one list."""
    return _reply(200, [figures for body in bodies for figures in msgspec.json.decode(body, type=list[msgspec.Raw])])


def _reasons(seen: Sequence[Seen], places: int) -> tuple[str, ...]:
    found: list[str] = []
    for place in range(1, places + 1):
        here = [each for each in seen if each.process == place]
        working = [each for each in here if each.state == "working"]
        if any(each.status == 200 for each in working):
            continue
        if working:
            found.append(f"process {place}: {_reason_of(working[-1])}")
        else:
            starting = any(each.state == "starting" for each in here)
            stopping = any(each.state == "stopping" for each in here)
            what = "is starting" if starting else "is stopping" if stopping else "has ended, and is started again"
            found.append(f"process {place} {what}")
    return tuple(found)


def _reason_of(process: Seen) -> str:
    if process.answer is None:
        return "it does not answer: its event loop is blocked"
    answer: Any = msgspec.json.decode(process.answer)
    return str(answer.get("reason") or "; ".join(answer.get("reasons", ())) or "it is not ready")


def _reply(status: int, body: object) -> Reply:
    return Reply(status, msgspec.json.encode(body))
