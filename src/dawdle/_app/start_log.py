"""What an app says of itself in the log when it starts, and when it first signals to where nothing can handle it."""

from typing import Final

from dawdle._flow.queue_client import QueueClient
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._log import Log
from dawdle.abc import Backend

__all__ = ["StartLog"]

MAX_NAMES: Final = 20
"""Handlers that are named in the line of a start."""

_log = Log(__name__)


class StartLog:
    """The lines of one app, each once for each time that it is entered."""

    def __init__(self, handlers: AppHandlers) -> None:
        self._handlers = handlers
        self._entered = False
        self._listened = False
        self.waits_for_signal = True
        """Whether the first signal has yet to be looked at: asked at each, so that the rest costs nothing."""

    def entering(self) -> None:
        """Begin anew: the app is being entered."""
        self._entered = self._listened = False
        self.waits_for_signal = True

    def entered(self, backend: Backend, queue: str) -> None:
        """Say what the app works on."""
        self._entered = True
        names = [handler.name for handler in self._handlers.handlers]
        _log.info(
            "dawdle started: queue %r on %s, %s, handlers (%d): %s",
            queue,
            shown_backend(backend),
            "listening" if self._listened else "not listening",
            len(names),
            _listed(names),
        )

    def listens(self) -> None:
        """Note that the app handles events, or has done so."""
        self._listened = True

    def worker_entered(self) -> None:
        """Warn of a worker without handlers: its modules were not imported, as a rule."""
        if self._listened and not self._handlers.handlers:
            _log.warning(
                "no handler is registered, so this worker receives nothing until one is: did you call "
                'dawdle.discover("your.package") before run()?'
            )

    def signaled(self, queue: QueueClient) -> None:
        """Warn at the first signal if only this process can handle it, and does not.

        Not at the start: handlers may be registered, and the listener started, after entering. And not while the
        lifespan is being entered, since the listener starts behind it.
        """
        if not self._entered:
            return
        self.waits_for_signal = False
        if queue.limits.shared or (self._listened and self._handlers.handlers):
            return
        missing, here = (
            (
                "no handler is registered",
                'import the modules that have handlers, as dawdle.discover("your.package") does',
            )
            if self._listened
            else ("it does not listen", "let it listen (start_listener)")
        )
        _log.warning(
            "what this app signals is kept in its own process, where no other can handle it, and %s: set "
            "DAWDLE_BACKEND or DAWDLE_SQS_QUEUE_URL for a queue that processes share, or %s; else these events end "
            "with this process",
            missing,
            here,
        )


def shown_backend(backend: Backend) -> str:
    """Return a backend as the log shows it: by our own repr, which has no credentials, or else by its type alone."""
    ours = getattr(type(backend).__repr__, "__module__", "").startswith("dawdle.")
    return repr(backend) if ours else type(backend).__qualname__


def _listed(names: list[str]) -> str:
    if len(names) > MAX_NAMES:
        names = [*names[:MAX_NAMES], f"and {len(names) - MAX_NAMES} more"]
    return ", ".join(names) or "none"
