"""One stored copy in the simulated queue, and which event it is a copy of."""

import re
from typing import Final, Literal

_NUMBER: Final = re.compile(rb'"number":(\d+)')


def number_in(body: bytes) -> int:
    """Return the number of the event that a body is a copy of; 0 for a body that is of none of ours."""
    found = _NUMBER.search(body)
    return 0 if found is None else int(found[1])


class Message:
    """One stored copy. `key` is its message id, which a twin shares; `serial` is its own."""

    __slots__ = (
        "body",
        "first_received_at",
        "group",
        "key",
        "number",
        "received_at",
        "receives",
        "serial",
        "state",
        "stored_at",
        "timer",
    )

    def __init__(self, serial: int, key: str, body: bytes, group: str | None, stored_at: float) -> None:
        self.serial = serial
        self.key = key
        self.body = body
        self.group = group
        self.number = number_in(body)
        self.stored_at = stored_at
        self.receives = 0
        self.first_received_at = 0.0
        self.received_at = 0.0
        self.state: Literal["waiting", "delayed", "held", "gone"] = "waiting"
        self.timer = -1

    @property
    def receipt(self) -> str:
        """The handle of its latest receive."""
        return f"{self.serial}.{self.receives}"
