"""Writes to the log what happens to the processes of a worker, and why. Changes nothing."""

import logging
import signal

from dawdle.cli.worker._child import Child
from dawdle.cli.worker._pool import Died, GaveUp, NotReplaced, Replaced, WaitsForChange
from dawdle.cli.worker._say import say

__all__ = ["asked_to_stop", "happened", "killing", "not_ready", "ready", "stopped", "unloadable"]

_log = logging.getLogger(__name__)


def happened(what: Died | NotReplaced | Replaced | WaitsForChange | GaveUp, child: Child, code: int) -> None:
    """Log what has become of a process, and what follows."""
    place, pid, ended = child.place, child.pid, how(code)
    match what:
        case Replaced(seconds=seconds):
            _log.info("process %d: pid %s is ready after %.2f s, the one before stops", place, pid, seconds)
        case NotReplaced() if child.unloadable is not None:
            _log.error("the app cannot be loaded any more: the processes from before work on")
        case NotReplaced():
            _log.error("process %d: pid %s did not start, it %s: the process from before works on", place, pid, ended)
        case WaitsForChange():
            _log.error("the app cannot be loaded: waiting for a change of the code")
        case GaveUp():
            _log.error("the app cannot be loaded, so this worker ends")
        case Died():
            _died(what, child, code)


def _died(what: Died, child: Child, code: int) -> None:
    ended = how(code)
    if code == -signal.SIGKILL:
        ended += ", as the kernel does when memory is short"
    delay = what.delay
    then = (
        "another is starting" if delay is None else f"starting another in {delay:g} s" if delay else "starting another"
    )
    _log.error("process %d: pid %s died after %.1f s, it %s: %s", child.place, child.pid, what.seconds, ended, then)


def how(code: int) -> str:
    """Return how a process has ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    known = {each.value: each.name for each in signal.Signals}
    return f"was killed by {known.get(-code, f'signal {-code}')}"


def ready(child: Child) -> None:
    """Log that a process works, in a place where none did."""
    _log.info("process %d: pid %s is ready", child.place, child.pid)


def not_ready(child: Child, seconds: float, *, replaces: bool) -> None:
    """Log that a process takes long to start."""
    then = "the process from before works on" if replaces else "nothing works in its place"
    _log.warning(
        "process %d: pid %s is not ready after %.0f s: %s; SIGHUP starts another instead",
        child.place,
        child.pid,
        seconds,
        then,
    )


def stopped(child: Child, code: int) -> None:
    """Log that a process has ended that was asked to."""
    if child.unloadable is not None:
        return
    if code in {0, -signal.SIGTERM}:  # a process that is only starting ends by the signal
        _log.info("process %d: pid %s has stopped", child.place, child.pid)
    else:
        _log.warning("process %d: pid %s did not stop cleanly, it %s", child.place, child.pid, how(code))


def killing(child: Child) -> None:
    """Log that a process is killed."""
    _log.error(
        "process %d: pid %s does not stop: killing it; what it has in flight is handled again elsewhere",
        child.place,
        child.pid,
    )


def asked_to_stop(processes: int, *, again: bool) -> None:
    """Log that the worker is to end."""
    if again:
        _log.warning("asked to stop again: ending the grace of %d processes", processes)
    else:
        _log.info("asked to stop: stopping %d processes", processes)


def unloadable(text: str) -> None:
    """Print why the app cannot be loaded: a traceback, or what to do."""
    say(text, red=True)
