"""The queues whose dead letters a command is about: whether they can be reached, and how many letters they hold."""

from dawdle import BackendError, Dawdle
from dawdle.abc import Backend, Countable
from dawdle.cli._running import CommandError
from dawdle.cli._texts import counted

__all__ = ["DeadLetterQueues"]


class DeadLetterQueues:
    """The dead-letter queues of an app that is not entered, or that of one of its queues."""

    def __init__(self, app: Dawdle, queue: str | None) -> None:
        self._backends: dict[str, Backend] = {}
        app.wrap_queues(self._backends.setdefault)  # it shows each, and the app keeps it
        queues = [each for each in app.describe().queues if queue in {None, each.name}]
        if queues and not any(each.shared for each in queues):
            raise CommandError(
                f"the queue {queues[0].name!r} is in memory: its dead letters are in the process that handles its "
                f"events, and no other can see them. Name an app whose queue is SQLite or SQS, or set "
                f"DAWDLE_SQLITE_PATH or DAWDLE_SQS_QUEUE_URL"
            )
        self.names = tuple(each.name for each in queues)
        self.shown = ", ".join(each.backend for each in queues)
        """The queues for a text that says where no letter is."""

    async def count(self) -> tuple[int, int] | None:
        """Return how many letters there are, and how many of them are hidden now; None if it cannot be told.

        The app is entered. On SQS it is an estimate, and where the dead-letter queue is found by the redrive policy
        alone, it can be told only after letters were looked for.
        """
        total = hidden = 0
        queues = [dead for name in self.names if (dead := self._backends[name].dead_letters) is not None]
        if not queues:
            return None
        for dead in queues:
            if not isinstance(dead, Countable):
                return None
            try:
                counts = await dead.count()
            except BackendError:  # to count may need a permission of its own
                return None
            total += counts.waiting + counts.in_flight + counts.delayed
            hidden += counts.in_flight
        return total, hidden

    async def where_it_may_be(self) -> str:
        """Return a text for one who finds no letter: what is hidden, and where it was looked for."""
        counts = await self.count()
        if counts is not None and counts[1]:
            return (
                f"{counted(counts[1], 'dead letter')} cannot be seen at the moment: another process looks at them, or "
                f"has died while it did. Try again in a minute"
            )
        if counts is not None and counts[0]:
            return f"{counted(counts[0], 'other dead letter')} in {self.shown}"
        return f"looked in {self.shown}"
