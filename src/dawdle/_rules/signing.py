"""Signs bodies and checks signatures: an HMAC over the bytes as they travel. Reads no other attribute.

The signature is the last attribute of the JSON, so the message stays a CloudEvent for every reader:

    {"specversion":"1.0", … ,"dawdlesignature":"<key id>:<base64url of HMAC-SHA256>"}

The body without that attribute is signed, byte for byte. A check parses nothing, since the place and the form of the
signature are known. So no byte of a stranger reaches a parser. Only bodies that were verified or written here are
ever signed.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Final

from dawdle.errors import ConfigurationError, EventError

__all__ = ["Signer"]

MIN_KEY_BYTES: Final = 32
"""Bytes. A key shorter than the output of SHA-256 weakens the signature (RFC 2104)."""

MAX_SIGNATURE_BYTES: Final = 128
"""Bytes of the longest signature, as it is in a body."""

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_SIGNED: Final = re.compile(rb',"dawdlesignature":"(?P<key_id>[A-Za-z0-9_.-]{1,32}):(?P<code>[A-Za-z0-9_-]{43})"\}\Z')


class Signer:
    """Signs with the first of its keys, and accepts all of them. Without keys it does neither."""

    def __init__(self, keys: Mapping[str, bytes | str] | None) -> None:
        self._keys = {} if keys is None else _checked(keys)
        self._first = next(iter(self._keys), "")

    @property
    def size(self) -> int:
        """Bytes that a signature adds to a body at most."""
        return MAX_SIGNATURE_BYTES if self._keys else 0

    def __repr__(self) -> str:
        return f"<Signer with {len(self._keys)} keys>"

    def sign(self, body: bytes) -> bytes:
        """Return a body with its signature as the last attribute. Only verified or own bodies may be passed."""
        if not self._keys:
            return body
        code = _code(self._keys[self._first], self._first, body)
        return b'%b,"dawdlesignature":"%b:%b"}' % (body[:-1], self._first.encode(), code)

    def unsigned(self, body: bytes) -> bytes:
        """Return a body without its signature. Raises `EventError` for a missing, unknown or wrong one."""
        if not self._keys:
            return body
        # Only the end is searched: a large body costs no more than a small one.
        found = _SIGNED.search(body, max(0, len(body) - MAX_SIGNATURE_BYTES))
        if found is None:
            raise EventError("the message is not signed, and this app takes only signed messages (signing_keys)")
        key_id = found["key_id"].decode()
        key = self._keys.get(key_id)
        if key is None:
            raise EventError(
                f"the message is signed with the key {key_id!r}, and this app knows {', '.join(self._keys)}"
            )
        bare = body[: found.start()] + b"}"
        import hmac  # noqa: PLC0415 - only an app with signing keys needs it

        # `==` would return sooner for a wrong first byte, and its time would tell an attacker how many bytes are right.
        if not hmac.compare_digest(_code(key, key_id, bare), found["code"]):
            raise EventError(
                f"the signature is wrong: the message was changed on its way, or not signed with the key {key_id!r}"
            )
        return bare


def _code(key: bytes, key_id: str, body: bytes) -> bytes:
    """Return the code of a body. It covers the key's id too, so that the id cannot be replaced."""
    import hmac  # noqa: PLC0415 - only an app with signing keys needs it

    digest = hmac.digest(key, key_id.encode() + b":" + body, "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=")


def _checked(keys: Mapping[str, bytes | str]) -> dict[str, bytes]:
    """Return the keys as bytes. Raises `ConfigurationError`, which shows none of them."""
    # An invalid id is not shown either: in `{KEY: "2026-11"}`, written the wrong way round, it is the key.
    if not isinstance(keys, Mapping) or not keys:
        raise ConfigurationError(
            "signing_keys maps the id of each key to the key, such as {'2026-11': KEY}; the first signs"
        )
    return {_key_id(key_id, number): _key(key, number) for number, (key_id, key) in enumerate(keys.items(), 1)}


def _key_id(key_id: object, number: int) -> str:
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise ConfigurationError(
            f"the id of signing key {number} is not 1 to 32 of A-Z, a-z, 0-9, _, . and -: signing_keys maps the id of "
            f"each key to the key, such as {{'2026-11': KEY}}"
        )
    return key_id


def _key(key: object, number: int) -> bytes:
    if isinstance(key, str):
        key = key.encode(errors="surrogatepass")  # any bytes make a key, and an encoding error would show them
    if not isinstance(key, bytes):
        raise ConfigurationError(f"signing key {number} is bytes or text, not {type(key).__qualname__}")
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"signing key {number} has {len(key)} bytes, and at least {MIN_KEY_BYTES} are needed: "
            f"make one with secrets.token_hex(32)"
        )
    return key
