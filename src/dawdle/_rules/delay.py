"""Computes when a delayed event is due, and how far its next hop goes. Seconds in, seconds out; reads no clock."""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from dawdle.errors import ConfigurationError, shown, to_seconds

__all__ = ["delay_of", "due_of", "hop", "max_hop_of", "remaining", "to_ms"]

MAX_SECONDS: Final = 1000 * 365.25 * 86400
"""Seconds of the longest delay: it must end in a year that a timestamp can name."""

MAX_MS: Final = 10**15 - 1
"""Milliseconds, some 30,000 years. An envelope reads no more digits."""

RESOLUTION_SECONDS: Final = 1e-6
"""Seconds. A float of epoch seconds has steps of a quarter of this."""


def delay_of(delay: float | timedelta | None, at: datetime | None, now: float) -> float:
    """Return what `signal(delay=…)` or `signal(at=…)` means in seconds; 0 without either, and for a past `at`.

    `now` is the signaling node's clock. Raises `ConfigurationError` for a negative, endless or NaN delay, a naive
    datetime, and both at once.
    """
    if at is not None:
        if delay is not None:
            raise ConfigurationError("signal() takes delay= or at=, not both")
        return _until(at, now)
    if delay is None:
        return 0.0
    return to_seconds(delay, "delay is", most=MAX_SECONDS)


def _until(at: object, now: float) -> float:
    if not isinstance(at, datetime):
        raise ConfigurationError(f"at is an aware datetime, not {shown(at)}")
    if at.utcoffset() is None:
        raise ConfigurationError(
            f"at={at.isoformat()} has no time zone: write datetime(…, tzinfo=UTC), or at.astimezone() for local time"
        )
    return max(0.0, (at - datetime.fromtimestamp(now, UTC)).total_seconds())


def to_ms(seconds: float) -> int:
    """Return whole milliseconds, rounded up, so that no event is early.

    `RetryLater` and the `max_delay` of a `Retry` may ask for more than an envelope can say: then it says the most.
    """
    # The inner round removes the noise of floats: 2.007 * 1000 is 2007.0000000000002, and no 2,008 ms.
    return ceil(round(min(seconds * 1000, MAX_MS), 3))


def due_of(due: float | None, delay_ms: int | None, stored_at: float) -> float | None:
    """Return when an event is due by the queue's clock; None: at once.

    Later copies carry `due`. The first copy carries `delay_ms`, which counts from when the queue stored it. So only the
    queue's clock decides, and a wrong clock of the signaling node does no harm.
    """
    if due is not None:
        return due
    return None if delay_ms is None else stored_at + delay_ms / 1000


def remaining(due: float | None, now: float) -> float:
    """Return the seconds until `due`, 0 if that is past; both by the queue's clock."""
    if due is None or due - now <= RESOLUTION_SECONDS:
        return 0.0
    return due - now


def max_hop_of(max_delay: float, retention: float) -> float:
    """Return the longest hop that a queue allows. The queue must not drop it before its receive."""
    return min(max_delay, retention / 2)


def hop(seconds: float, max_hop: float) -> float:
    """Return the delay of the next copy of an event that must wait `seconds`."""
    return min(seconds, max_hop)
