"""What one handler made of one event. A failure is a value here, so it cancels nobody."""

import msgspec

__all__ = ["Crowded", "Done", "Failed", "Interrupted", "Later", "Outcome", "Rejected"]


class Done(msgspec.Struct, frozen=True):
    """It returned."""


class Failed(msgspec.Struct, frozen=True):
    """It raised, or ran out of time."""

    error: str


class Rejected(msgspec.Struct, frozen=True):
    """It raised `Reject`: never again."""

    error: str


class Later(msgspec.Struct, frozen=True):
    """It raised `RetryLater`: not yet."""

    seconds: float


class Crowded(msgspec.Struct, frozen=True):
    """It never started: its own `concurrency` was taken for too long."""


class Interrupted(msgspec.Struct, frozen=True):
    """A stop ended it, or it was never started because of one."""


Outcome = Done | Failed | Rejected | Later | Crowded | Interrupted
