"""Watches an app for its web app: whether its queues have answered, and whether the event loop keeps its turns.

`app.health()` says what the app's own calls have met. An app that only signals makes none until its first signal, so
the queue is asked here: at the start until it answers, and later for as long as the app is unhealthy.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final
from weakref import WeakKeyDictionary

from dawdle import Dawdle
from dawdle._log import Log
from dawdle.errors import BackendError, FaultKind

__all__ = ["monitored", "not_ready"]

_log = Log(__name__)

FIRST_ANSWER_SECONDS: Final = 1.0
"""Seconds that a start waits for the first answer, good or bad. So a web app that has started is ready at once, and the
log says first what is wrong. A queue that takes longer holds up no start."""

PING_SECONDS: Final = 10.0
"""Seconds in which a queue must answer a ping."""

MIN_PAUSE_SECONDS: Final = 1.0
MAX_PAUSE_SECONDS: Final = 15.0
"""Seconds between two pings that fail. The pause doubles from the shortest to the longest."""

BEAT_SECONDS: Final = 0.5
"""Seconds from one beat to the next: each needs a turn of the event loop."""

BLOCKED_SECONDS: Final = 1.0
"""Seconds by which a beat is late, after which the event loop counts as blocked."""

REMEMBER_SECONDS: Final = 10.0
"""Seconds for which the app is not ready after a block. An orchestrator asks every few seconds, and a loop that is
blocked again and again may answer each time: between two blocks."""

STOP_SECONDS: Final = 1.0
"""Seconds that a ping has to end when the app stops."""

_ADVICE: Final[dict[FaultKind, str]] = {
    "denied": "check the credentials of this process, and what they may do",
    "missing": "make the queue, or correct its address",
    "throttled": "too many requests, it passes by itself",
    "unavailable": "check the address of the queue, and the network",
}

_monitors: Final[WeakKeyDictionary[Dawdle, "_Monitor"]] = WeakKeyDictionary()


@asynccontextmanager
async def monitored(app: Dawdle) -> AsyncGenerator[None]:
    """Watch an app that is entered, in the block."""
    monitor = _Monitor(app)
    # No task group: it would wrap what the web app raises, and wait for a ping that ignores its cancellation.
    tasks = [
        asyncio.create_task(monitor.beat(), name="dawdle: loop beat"),
        asyncio.create_task(monitor.ask(), name="dawdle: ping"),
    ]
    _monitors[app] = monitor
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                await monitor.asked.wait()
        yield
    finally:
        _monitors.pop(app, None)
        for task in tasks:
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if late:
            _log.warning("a ping of the queue did not end when it was cancelled: the app stops without it")


def not_ready(app: Dawdle) -> tuple[str, ...]:
    """Return why an app should get no requests, the first cause first; nothing if it may get them."""
    health = app.health()
    if health.state == "leaving":
        return ("the app is stopping",)
    if health.state != "running":
        return health.reasons or (f"the app is {health.state}",)
    monitor = _monitors.get(app)
    return health.reasons if monitor is None else (*monitor.reasons(), *health.reasons)


class _Monitor:
    """What is known of one app from its entering on."""

    def __init__(self, app: Dawdle) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self.asked = asyncio.Event()
        """The first ping has come back, with or without an answer."""
        self._answered = False
        self._failure: BackendError | None = None
        self._beat_at = self._loop.time()
        self._runs = False
        """The start is over."""
        self._block: tuple[float, float] | None = None
        """When the latest block of the loop ended, and how long it was."""

    def reasons(self) -> tuple[str, ...]:
        """Return why the app is not ready, other than by its own health."""
        found = list[str]()
        if not self._answered:
            found.append("its queue has not answered yet" if self._failure is None else str(self._failure))
        self._note_block()
        if self._block is not None and self._loop.time() - self._block[0] < REMEMBER_SECONDS:
            ended, seconds = self._block
            found.append(f"the event loop was blocked for {seconds:.1f} s, {self._loop.time() - ended:.1f} s ago")
        return tuple(found)

    async def beat(self) -> None:
        """Take a turn of the loop again and again, until cancelled."""
        while True:
            self._note_block()
            self._beat_at = self._loop.time()
            await asyncio.sleep(BEAT_SECONDS)

    def _note_block(self) -> None:
        """Note a beat that is late. A request may have its turn before the beat has: so the request asks here too."""
        now = self._loop.time()
        if not self._runs:  # imports, and what the user's own lifespan loads, may block a start for long
            self._runs, self._beat_at = self._app.health().state == "running", now
            return
        late = now - self._beat_at - BEAT_SECONDS
        if late >= BLOCKED_SECONDS:
            self._block = (now, late)

    async def ask(self) -> None:
        """Ping the queues: until they answer, and then whenever the app is unhealthy, until cancelled."""
        pause = MIN_PAUSE_SECONDS
        while True:
            if not self._answered or not self._app.health().healthy:
                failure = await self._ping()
                self._log_change(failure)
                self._failure = failure
                self._answered = self._answered or failure is None
                self.asked.set()
                pause = MIN_PAUSE_SECONDS if failure is None else min(pause * 2, MAX_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _ping(self) -> BackendError | None:
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._app.ping()
        except TimeoutError:
            return BackendError(f"no answer of the queue in {PING_SECONDS:g} s", uncertain=False)
        except BackendError as error:
            return error
        return None

    def _log_change(self, failure: BackendError | None) -> None:
        """Log a failure before the first answer once for each cause, and its end. After it, the app logs its own."""
        if self._answered:
            return
        if failure is None:
            if self._failure is not None:
                _log.warning("the queue answers now, and /ready answers 200")
        elif self._failure is None or failure.kind != self._failure.kind:
            _log.error(
                "%s: %s. The start goes on, and /ready answers 503 until the queue can be reached",
                failure,
                _ADVICE.get(failure.kind, "check the settings of the queue"),
            )
