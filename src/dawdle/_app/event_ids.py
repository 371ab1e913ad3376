"""Makes the ids of new events. Keeps nothing between two calls.

They are random UUIDs, version 4, in 32 hex digits, as `uuid.uuid4().hex` makes them.
"""

from os import urandom

__all__ = ["new_id"]


def new_id() -> str:
    """Return a new id, with 122 random bits."""
    # `uuid4` makes an object of each id, and takes 2.3 µs; this takes 0.8. A block of random bytes in memory would be
    # no faster, and a process that is forked, or restored from a snapshot, would give out the same ids again.
    digits = bytearray(urandom(16))
    digits[6] = digits[6] & 0x0F | 0x40  # the version and the variant of RFC 9562
    digits[8] = digits[8] & 0x3F | 0x80
    return digits.hex()
