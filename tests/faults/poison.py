"""Poison messages of each kind, as an untrusted sender would send them, and how to recognise their letters."""

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

import dawdle

MEBIBYTE = 1_048_576
DEPTH = 1_000
LAST = 2**31 - 1

REASONS = {
    "undecodable": "CloudEvent",
    "too-deep": "deep|depth|nest|recurs",
    "too-large": "always fails|large|bytes|fit",
    "full": "^$",
    "wrong-type": "int|number",
    "unknown-type": "Unknown",
    "unclaimed": "handler",
    "never-ends": "always fails",
    "since-to-come": "Unknown",
    "forged-trial": "always fails",
    "unprintable": "always fails",
    "bomb": "JSON",
}
"""By kind of poison: what the error of its dead letter must mention. A message that fills the queue has none."""

SIGNED = {"forged": "sign", "unsigned": "sign"}
"""Kinds that are poison only where signatures are required."""


class Good(msgspec.Struct, frozen=True):
    at: float
    number: int = 0


class Bad(msgspec.Struct, frozen=True):
    """Its handler always fails."""

    text: str = ""


@dawdle.event("faults.unwanted")
class Unwanted(msgspec.Struct, frozen=True):
    """A type that every node knows and none has a handler for."""


def body_of(kind: str, number: int) -> str:
    """Return a body; its `kind-number` is part of the dead letter that it becomes."""
    name = f"{kind}-{number}"
    event: dict[str, Any] = {"specversion": "1.0", "id": name, "source": "stranger", "type": "Good"}
    match kind:
        case "undecodable":
            return f"{name} is no event"
        case "too-deep":
            return json.dumps(event | {"data": "?"}).replace('"?"', f'{{"more":{"[" * DEPTH}{"]" * DEPTH},"at":1}}')
        case "too-large" | "full":  # by its room for what a retry or a letter adds
            whole, room = json.dumps(event | {"type": "Bad", "data": {"text": "?"}}), 40 if kind == "full" else 2000
            return whole.replace("?", "x" * (MEBIBYTE - room - len(whole)))
        case "wrong-type":
            return json.dumps(event | {"data": {"at": 1, "number": "many"}})
        case "unknown-type":
            return json.dumps(event | {"type": "Unknown", "data": {}})
        case "unclaimed":
            return json.dumps(event | {"type": "faults.unwanted", "data": {}})
        case "never-ends":
            return json.dumps(event | {"type": "Bad", "data": {}})
        case "unsigned":
            return json.dumps(event | {"data": {"at": 1}})
    return json.dumps(event | _forged(kind, name))


def _forged(kind: str, name: str) -> dict[str, Any]:
    """Return the attributes of an event in which an untrusted sender forges those of dawdle."""
    match kind:
        case "since-to-come":
            return {"type": "Unknown", "data": {}, "dawdlesince": "9999-12-31T00:00:00Z"}
        case "forged-trial":
            return {"type": "Bad", "dawdletrial": LAST, "dawdleattempt": LAST, "time": "9999-12-31T00:00:00Z"}
        case "unprintable":
            return {"type": "Bad", "id": f"{name}\n2026-01-01 CRITICAL \x1b[31m\u2028\u202e"}
        case "bomb":
            return {"type": "Bad", "data_base64": _bomb()}
    raise AssertionError(kind)


@cache
def _bomb() -> str:
    """Return 64 MiB of data in 87 KB."""
    return base64.b64encode(zlib.compress(b"x" * (64 << 20), 9)).decode()


def kinds_of(letters: list[dict[str, Any]], reasons: Mapping[str, str]) -> tuple[Counter[str], list[str]]:
    """Return how many letters of each kind there are, and what is wrong with their reasons."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    for letter in letters:
        name = str(letter.get("id", ""))
        if letter.get("type") == "dawdle.undecodable":
            name = base64.b64decode(letter["data_base64"])[:300].decode(errors="replace")
        tag = re.search("|".join(f"{kind}-[0-9]+" for kind in reasons), name)
        if tag is None:
            found["good"] += 1
            continue
        kind = tag[0].rpartition("-")[0]
        found[kind] += 1
        error = str(letter.get("dawdleerror", ""))
        if not re.search(reasons[kind], error):
            wrong.append(f"the letter of {tag[0]} says {error[:200]!r}")
    return found, wrong
