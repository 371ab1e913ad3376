"""Signs pickled calls and checks their signatures. Sees bytes; unpickles nothing.

The signature covers the type, the id and the name of a call beside its bytes, so none of them can be exchanged.
"""

from collections.abc import Sequence
from typing import Final, cast

import msgspec

from dawdle.errors import ConfigurationError

__all__ = ["PickleSigner"]

MIN_KEY_BYTES: Final = 16
"""Bytes. Shorter keys can be guessed."""


class PickleSigner:
    """Signs with its key, and accepts the old keys too."""

    def __init__(self, key: bytes | str, old_keys: Sequence[bytes | str]) -> None:
        if isinstance(old_keys, (bytes, str)) or not isinstance(cast("object", old_keys), Sequence):
            raise ConfigurationError("old_keys is a sequence of keys: write old_keys=[KEY]")
        self._keys = (_checked(key, "key"), *(_checked(each, "each of old_keys") for each in old_keys))

    def sign(self, event_type: str, event_id: str, name: str, pickled: bytes) -> bytes:
        """Return the signature of a call."""
        return _code(self._keys[0], event_type, event_id, name, pickled)

    def accepts(self, signature: bytes, event_type: str, event_id: str, name: str, pickled: bytes) -> bool:
        """Whether one of the keys made this signature, for this call."""
        import hmac  # noqa: PLC0415 - only an app with pickled calls needs it

        # Every key is tried, and compared in constant time: how long this takes tells a stranger nothing.
        found = [hmac.compare_digest(_code(key, event_type, event_id, name, pickled), signature) for key in self._keys]
        return any(found)


def _code(key: bytes, event_type: str, event_id: str, name: str, pickled: bytes) -> bytes:
    import hmac  # noqa: PLC0415 - as above

    # An array in JSON says itself where it ends, so no byte can move from one part to another.
    return hmac.digest(key, msgspec.json.encode((event_type, event_id, name)) + pickled, "sha256")


def _checked(key: object, what: str) -> bytes:
    """Return a key as bytes. Raises `ConfigurationError`, which does not show it."""
    if isinstance(key, str):
        key = key.encode(errors="surrogatepass")  # any bytes make a key, and an encoding error would show them
    if not isinstance(key, bytes):
        raise ConfigurationError(f"SignedPickle: {what} is bytes or text, not {type(key).__qualname__}")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"SignedPickle: {what} has {len(key)} bytes, and at least {MIN_KEY_BYTES} are needed: make one with "
            f"secrets.token_hex(32)"
        )
    return key
