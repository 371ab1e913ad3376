"""Shows a default as text, the same in each process: a set has another order in each, and an object another address."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, cast

from dawdle.events import event_style

__all__ = ["shown_default"]

MAX_DEFAULT: Final = 80
"""Characters of a default that are kept."""


def shown_default(value: object) -> str:
    """Return a default as Python shows it, with sets in order; `…` for what has an address in it."""
    text = _shown(value)
    return "…" if " at 0x" in text else text if len(text) <= MAX_DEFAULT else f"{text[: MAX_DEFAULT - 1]}…"


def _shown(value: object) -> str:
    text = repr(value)
    if "{" not in text:  # so there is no set in it
        return text
    if isinstance(value, (set, frozenset)):
        members = ", ".join(sorted(map(_shown, cast("AbstractSet[object]", value))))
        return f"{{{members}}}" if isinstance(value, set) else f"frozenset({{{members}}})"
    if isinstance(value, dict):
        items = cast("Mapping[object, object]", value).items()
        return f"{{{', '.join(f'{_shown(key)}: {_shown(each)}' for key, each in items)}}}"
    names = _shown_fields(value)
    if names is not None:
        return f"{type(value).__qualname__}({', '.join(f'{each}={_shown(getattr(value, each))}' for each in names)})"
    if isinstance(value, (list, tuple)):
        parts = list(map(_shown, cast("Sequence[object]", value)))
        comma = "," if len(parts) == 1 else ""
        return f"[{', '.join(parts)}]" if isinstance(value, list) else f"({', '.join(parts)}{comma})"
    return text


def _shown_fields(value: object) -> Iterable[str] | None:
    """Return the fields that the text of an object has; None for what has none."""
    cls = cast("Any", type(value))
    match event_style(cls):
        case "struct":
            return cast("Sequence[str]", cls.__struct_fields__)
        case "pydantic":
            return [name for name, field in cast("Mapping[str, Any]", cls.model_fields).items() if field.repr]
        case "dataclass":
            return [field.name for field in dataclasses.fields(cls) if field.repr]
        case "attrs":
            return [field.name for field in cast("Sequence[Any]", cls.__attrs_attrs__) if field.repr]
        case _:
            return cast("Iterable[str] | None", getattr(cls, "_fields", None))  # of a named tuple
