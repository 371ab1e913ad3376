"""What the options of `dawdle worker` take: sizes of memory, and where it answers."""

import re
from typing import Final

import click

__all__ = ["Address", "address", "size"]

Address = tuple[str | None, int]
"""A host, or None for all addresses, and a port."""

UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


def size(text: str) -> int:
    """Return the bytes of a size such as `500M` or `1.5G`; a unit is 1024 times the one before."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if found is None or float(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is no size: write 500M or 2G")
    return int(float(found[1]) * UNITS[found[2]])


def address(text: str) -> Address:
    """Return host and port of `8080`, `127.0.0.1:8080` or `[::1]:8080`; without a host all addresses are meant."""
    host, colon, port = text.strip().rpartition(":")
    if not re.fullmatch(r"\d{1,5}", port) or not 0 < int(port) < 65536 or (colon and not host):
        raise click.BadParameter(f"{text!r} is no port: write 8080, or 127.0.0.1:8080 for this machine alone")
    return host.removeprefix("[").removesuffix("]") or None, int(port)
