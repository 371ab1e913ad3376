"""Logs the start of an app, and warns once if nothing can handle its events. Changes nothing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from dawdle._app.queue_map import QueueMap
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._log import Log
from dawdle.abc import Backend
from dawdle.errors import ConfigurationError
from dawdle.events import CALL_PREFIX, is_call, wire_name

if TYPE_CHECKING:
    from dawdle._flow.queue_client import QueueClient

__all__ = ["StartLog"]

MAX_NAMES: Final = 20
"""Handlers that the start line names."""

_log = Log(__name__)


class StartLog:
    """The log lines of one app. Each is logged once for each time that the app is entered."""

    def __init__(self, handlers: AppHandlers, queues: QueueMap, *, has_lifespan: bool) -> None:
        self._handlers = handlers
        self._queues = queues
        self._misplaced: set[str] = set()
        self._told: set[str] = set()
        self.has_ordered = False
        """Some queue keeps order. Each signal asks only this, so an app without one pays no more."""
        self._has_lifespan = has_lifespan
        self._entered = False
        self._listened = False
        self._shared = False
        self.waits_for_signal = True
        """The first signal was not checked yet. Each signal asks only this, so later signals cost nothing."""

    def entering(self) -> None:
        """Start over: the app is being entered."""
        self._entered = self._listened = False
        self.waits_for_signal = True

    def entered(self) -> None:
        """Log the queues and the handlers of the app."""
        queues = self._queues
        self._entered = True
        self._handlers.observe(self)
        self._shared = any(backend.limits.shared for backend in queues.backends.values())
        self.has_ordered = any(backend.limits.ordered for backend in queues.backends.values())
        names = [handler.name for handler in self._handlers.handlers]
        _log.info(
            "dawdle started: queue %s, %s, handlers (%d): %s",
            ", ".join(f"{name!r} on {shown_backend(backend)}" for name, backend in queues.backends.items()),
            self._listening(),
            len(names),
            _listed(names),
        )
        if self._listened and queues.is_named and names:
            self._log_unmatched()

    def changed(self) -> None:
        """Log each handler that is registered late and does not fit the queues. At the start it would be an error."""
        for handler in self._handlers.handlers:
            try:
                self._queues.require_reachable([handler])
            except ConfigurationError as error:
                if handler.name not in self._misplaced:
                    self._misplaced.add(handler.name)
                    _log.error("a handler was registered after the start, and the next start will refuse it: %s", error)

    def _log_unmatched(self) -> None:
        """Log the handlers without a queue, and the queues without a handler, in this process."""
        elsewhere = self._queues.never_reached(self._handlers.handlers)
        if elsewhere:
            _log.info(
                "handlers that do not run in this process, since it does not listen to their queues (%d): %s",
                len(elsewhere),
                _listed(elsewhere),
            )
        bound = {handler.options.queue for handler in self._handlers.handlers}
        for queue in self._queues.listened:
            if None not in bound and queue not in bound:
                _log.warning(
                    "this process listens to queue %r and has no handler that runs there, so it puts the events of "
                    "that queue back: name the queues of its handlers in listen=",
                    queue,
                )

        for event_type, first in self._queues.without_handler_on_first(self._handlers.handlers):
            _log.warning(
                "events of the type %s go to queue %r first, and no handler of this process that takes them runs "
                "there: unless another process has one, they are dead-lettered after unclaimed=; name a queue first "
                "in routes= that has a handler",
                event_type.__qualname__,
                first,
            )

    def _listening(self) -> str:
        if not self._listened:
            return "not listening"
        return f"listening to {', '.join(self._queues.listened)}" if self._queues.is_named else "listening"

    def listens(self) -> None:
        """Note that the listener was started."""
        self._listened = True

    def worker_entered(self) -> None:
        """Warn of a worker without handlers, and of one without events. Usually an import or a variable is missing."""
        if not self._listened:
            return
        if not self._handlers.handlers:
            _log.warning(
                "no handler is registered, so this worker receives nothing until one is: did you call "
                'dawdle.discover("your.package") before run()?'
            )
        # A lifespan may signal, as a program does that is all in one process.
        if not self._shared and not self._has_lifespan:
            _log.warning(
                "this worker keeps its queue in its own memory, so events of other processes do not reach it: set "
                "DAWDLE_BACKEND or DAWDLE_SQS_QUEUE_URL for a queue that processes share"
            )

    def ungrouped(self, event_type: type, queues: "Iterable[QueueClient]") -> None:
        """Log once for each type that its events go to an ordered queue without a group."""
        for queue in queues:
            name = wire_name(event_type).removeprefix(CALL_PREFIX)
            if queue.limits.ordered and f"group of {name}" not in self._told:
                self._told.add(f"group of {name}")
                _log.info(
                    "%s goes to the ordered queue %r without group=, so it is in order with nothing: write %s",
                    name,
                    queue.name,
                    "f.options(group=…)" if is_call(event_type) else "signal(…, group=…)",
                )

    def lacks(self, function: str) -> None:
        """Warn once for each function that is called and that this app does not have."""
        if function in self._told:
            return
        self._told.add(function)
        shared = any(backend.limits.shared for backend in self._queues.backends.values())
        _log.warning(
            "this app has no function %s: %s use the registry in which it is registered, or import its module",
            function,
            "another node must have it; if not,"
            if shared
            else "and its queues are in memory, so no other node has it:",
        )

    def signaled(self, queue: "QueueClient") -> None:
        """Warn at the first signal if only this process can handle its event, and does not."""
        # Not at the start: handlers may be registered, and the listener started, later. And not in the lifespan, since
        # the listener starts after it.
        if not self._entered:
            return
        self.waits_for_signal = False
        listens = self._listened and queue.name in self._queues.listened
        if queue.limits.shared or (listens and self._handlers.handlers):
            return
        missing, here = (
            (
                "no handler is registered",
                'import the modules that have handlers, as dawdle.discover("your.package") does',
            )
            if listens
            else ("its listener is not started", "start the listener (start_listener)")
            if not self._listened
            else (f"it does not listen to the queue {queue.name!r}", "name that queue in listen=")
        )
        _log.warning(
            "this app keeps its events in its own memory, where no other process can handle them, and %s: set "
            "DAWDLE_BACKEND or DAWDLE_SQS_QUEUE_URL for a queue that processes share, or %s; otherwise these events "
            "are lost when this process ends",
            missing,
            here,
        )


def shown_backend(backend: Backend) -> str:
    """Return a backend for the log: our own repr, which has no credentials, or else only the type."""
    ours = getattr(type(backend).__repr__, "__module__", "").startswith("dawdle.")
    return repr(backend) if ours else type(backend).__qualname__


def _listed(names: list[str]) -> str:
    if len(names) > MAX_NAMES:
        names = [*names[:MAX_NAMES], f"and {len(names) - MAX_NAMES} more"]
    return ", ".join(names) or "none"
