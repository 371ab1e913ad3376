"""The carrier, a service elsewhere that fails now and then. A test hands in one that does as it says."""

import random


class Carrier:
    async def book(self, order_id: str) -> str:
        """Return the number of the parcel. Raises `ConnectionError` one time in five."""
        if random.random() < 0.2:
            raise ConnectionError("the carrier does not answer")
        return f"P-{order_id}"
