"""A look into a running app, for tests: what is in flight, which slots are free, what waits. And two accidents."""

from collections.abc import Mapping
from typing import NoReturn

from dawdle import Dawdle
from dawdle.errors import ConfigurationError

__all__ = ["Probe"]


class Probe:
    """What goes on inside an app, for the tests of it and of what is built on it.

    Make it of an app that is entered: `probe = Probe(app)`. It may be asked after the app was left, too.
    Raises `ConfigurationError` for an app that was never entered, or whose queue is not open yet.
    """

    def __init__(self, app: Dawdle) -> None:
        runtime = app._runtime  # pyright: ignore[reportPrivateUsage] - so that no test has to
        if runtime is None or not runtime.state.is_open:  # without an open queue it has no parts to look at
            raise ConfigurationError(f"{app!r} was never entered, so there is nothing to look at: enter it first")
        self._runtime = runtime

    @property
    def in_flight(self) -> int:
        """How many messages and direct events the app holds; `Dawdle.health` tells the same while it is entered."""
        return len(self._runtime.in_flight)

    @property
    def slots(self) -> int:
        """How many slots the app has: the `concurrency` of each of its queues."""
        return sum(queue.slots.total for queue in self._runtime.queues.values())

    @property
    def free_slots(self) -> int:
        """How many of them are neither taken nor reserved; below 0 where direct events came on top."""
        return sum(queue.slots.free for queue in self._runtime.queues.values())

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many events wait in memory for each handler that has a `concurrency` of its own, by its name."""
        return self._runtime.limits.waiting_by_handler()

    async def flushed(self) -> None:
        """Return when the queues have answered every request that was made until then."""
        for queue in self._runtime.queues.values():
            await queue.flush()

    async def over(self) -> None:
        """Return when nothing of the app runs any more, not even a handler that ignored its cancellation."""
        await self._runtime.over()

    def fail(self, error: Exception) -> None:
        """Let a part of the app raise an error, as a bug in dawdle would: the app dies of it, some turns later."""

        async def bug() -> NoReturn:
            raise error

        self._runtime.start_part(bug())

    def lose_leases(self) -> None:
        """Treat every message in flight as one that another node has received meanwhile."""
        for message in self._runtime.in_flight:
            message.lose_lease()

    def interrupt(self) -> None:
        """Cancel every handler that runs now and start none of those that wait, as at the end of the grace."""
        self._runtime.in_flight.interrupt()
