"""The carrier, a service elsewhere that fails now and then. A test hands in one that does as it says."""

import random


class Carrier:
    def __init__(self, key: str) -> None:
        self._key = key

    async def book(self, order_id: str) -> str:
        """Return the number of the parcel.

        Raises `ConnectionError` one time in five, and `PermissionError` for a key that the carrier has revoked.
        """
        if self._key != "k-2026":
            raise PermissionError("the carrier answers 401: our key is revoked")
        if random.random() < 0.2:
            raise ConnectionError("the carrier does not answer")
        return f"P-{order_id}"
