"""What one app of a worker says of itself at `/stats`: structs that travel as JSON. Counts nothing, asks nothing.

A reader ignores fields that it does not know, and a field that is missing has its default. So a later release may add
some; one that changes what a field means raises `VERSION`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log2
from typing import Annotated, Final

import msgspec

__all__ = ["VERSION", "Answer", "HandlerStats", "QueueStats", "WorkerStats", "bucket_of", "merged", "quantile"]

VERSION: Final = 1

BUCKETS_PER_OCTAVE: Final = 8
"""A bucket ends 9 % above its beginning, so what is read from one is off by 4.4 % at most."""

MAX_BUCKET: Final = 45 * BUCKETS_PER_OCTAVE
"""The bucket of everything longer than a year."""

_MICROSECONDS: Final = 1e6

Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""A number that other programs can read, and arithmetic with floats too: msgspec would read one of 4,000 digits."""


class HandlerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One handler of a worker, since its app was entered. What is `recent` is of the last `WorkerStats.window` seconds.

    A run that the end of a worker interrupted, or that found the handler at its `concurrency`, is no run here.
    """

    name: str
    types: tuple[str, ...] = ()
    """Wire names of the types that it takes, so that two workers can be compared; (): every type, or not known."""

    runs: Whole = 0
    """Runs that have ended, failed ones too."""

    failures: Whole = 0
    """Runs that failed or rejected the event."""

    retries: Whole = 0
    """Copies that were stored so that it runs again."""

    dead_letters: Whole = 0
    """Events that it gave up."""

    running: Whole = 0
    """Runs that go on now."""

    recent_runs: Whole = 0
    recent_failures: Whole = 0
    recent_retries: Whole = 0
    recent_waited: float | None = None
    """The longest that a recent event had been due before its run; None if that is not known of any."""

    durations: dict[int, Whole] = {}
    """How many recent runs took how long: runs by `bucket_of` their seconds."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue of a worker, those for its delayed events and dead letters included, since the app was entered.

    What is `recent` is of the last `WorkerStats.queue_window` seconds, if nothing else is said.
    """

    name: str
    """The name that the app has for it."""

    system: str = ""
    """The sort of queue, such as `aws_sqs`; empty if its backend does not say."""

    place: str = ""
    """The name that this queue has in every process, and no other queue; empty if unknown."""

    signaled: Whole = 0
    """Events that this process has stored in it."""

    received: Whole = 0
    """Messages that were received."""

    in_flight: Whole = 0
    """Messages in flight in this process now."""

    slots: Whole = 0
    """How many may be in flight at once; 0 if this app does not receive from it."""

    finished: Whole = 0
    """Messages that were handled to the end and deleted."""

    copies: Whole = 0
    """Of these, how many live on in a copy: a retry, a hop of a delay, an event for another worker."""

    dead_letters: Whole = 0
    """Dead letters that were stored."""

    requests: dict[str, Whole] = {}
    """Requests by call: `send`, `receive`, `delete`, `release`, `renew`."""

    empty_receives: Whole = 0
    """Receives that brought nothing."""

    failed_requests: Whole = 0
    """Requests that failed as a whole."""

    recent_signaled: Whole = 0
    """Of the last `WorkerStats.window` seconds, as `recent_received` is."""

    recent_received: Whole = 0
    recent_requests: Whole = 0
    recent_empty_receives: Whole = 0
    recent_finished: Whole = 0
    recent_copies: Whole = 0

    @property
    def events(self) -> int:
        """How many events were handled to the end. A retry and a hop of a delay belong to the event they come from."""
        return max(0, self.finished - self.copies)

    @property
    def recent_events(self) -> int:
        """How many events were handled to the end of late."""
        return max(0, self.recent_finished - self.recent_copies)


class WorkerStats(msgspec.Struct, frozen=True, kw_only=True):
    """One app of one worker process. Seconds are by the clock of the process."""

    version: Whole = VERSION
    id: str = ""
    """Made anew each time that an app is watched: two answers with the same one are of the same app."""

    app: str = ""
    """The app as the command line names it, such as `shop.main:app`."""

    host: str = ""
    pid: Whole = 0
    uptime: float = 0.0
    """Seconds since the app began to be watched."""

    rss: Whole = 0
    """Bytes of memory that the process has; 0 if unknown."""

    cpu_seconds: float = 0.0
    """CPU time of the process."""

    healthy: bool = True
    reasons: tuple[str, ...] = ()
    """Why it is unhealthy."""

    window: float = 0.0
    """Seconds that recent runs and messages are of."""

    queue_window: float = 0.0
    """Seconds that recent requests are of, and the events that they were for."""

    handlers: tuple[HandlerStats, ...] = ()
    queues: tuple[QueueStats, ...] = ()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the health port of a worker said: a list, since one port may speak for several processes."""

    url: str
    stats: Sequence[WorkerStats] = ()
    error: str | None = None
    """Why it did not answer."""


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration, from 0, which is a microsecond and less."""
    microseconds = seconds * _MICROSECONDS
    return 0 if microseconds <= 1 else min(MAX_BUCKET, int(log2(microseconds) * BUCKETS_PER_OCTAVE))


def merged(each: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the durations of several workers as those of one: its quantiles cannot be made of theirs."""
    found = Counter[int]()
    for durations in each:
        found.update(durations)
    return dict(found)


def quantile(durations: Mapping[int, int], share: float) -> float | None:
    """Return the seconds within which this share of runs (0 to 1) has ended, off by 4.4 % at most; None of no runs."""
    left = share * sum(durations.values())
    for bucket in sorted(durations):
        left -= durations[bucket]
        if left <= 0:
            known = min(max(bucket, 0), MAX_BUCKET)
            return float(2 ** ((known + 0.5) / BUCKETS_PER_OCTAVE)) / _MICROSECONDS
    return None
