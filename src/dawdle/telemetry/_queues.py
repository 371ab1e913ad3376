"""What is known of the queues of an app: the facts that spans and figures have of each. Makes no request."""

from collections.abc import Callable, Mapping

from dawdle import Health
from dawdle.abc import Backend, Described
from dawdle.telemetry._metrics import DESTINATION, HEALTHY, IN_FLIGHT, OLDEST, SLOTS, SYSTEM, Metric

__all__ = ["Queues", "gauges_of"]


class Queues:
    """The queues of one app, by the names that it has for them. Empty until the app is entered."""

    def __init__(self) -> None:
        self._backends: Mapping[str, Backend] = {}

    def know(self, backends: Mapping[str, Backend]) -> None:
        """Take the queues of an app that is being entered."""
        self._backends = backends

    def of(self, name: str) -> Mapping[str, str | int]:
        """Return the facts of one queue: its system, its name, and where it is.

        A queue behind another is named as in the log and in the hooks: `default (dead letters)`.
        """
        main, _, role = name.removesuffix(")").partition(" (")
        facts: dict[str, str | int] = {SYSTEM: "dawdle", DESTINATION: name}
        backend = self._backends.get(main)
        if backend is None:  # a signal before the app is entered, which fails
            return facts
        if role:
            # On SQS the queue for dead letters is known only after the first receive was prepared.
            behind = backend.delayed if role == "delayed" else backend.dead_letters
            if behind is None:
                return {**facts, **_described(backend), DESTINATION: name}
            backend = behind
        return {**facts, **_described(backend)}


def _described(backend: Backend) -> Mapping[str, str | int]:
    return backend.description if isinstance(backend, Described) else {}


def gauges_of(health: Callable[[], Health]) -> list[tuple[Metric, str, float]]:
    """Return the gauges of one app, with the queue that each is of."""
    now = health()
    found = [(HEALTHY, "", float(now.healthy))]
    for queue in now.queues:
        found += [(IN_FLIGHT, queue.queue, float(queue.in_hand)), (SLOTS, queue.queue, float(queue.slots))]
    if now.oldest_queue is not None:
        found.append((OLDEST, now.oldest_queue, now.oldest or 0.0))
    return found
