"""Finds NaN and infinity in an event, for which JSON has no number. An event in; an error, or nothing, out."""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain, repeat
from math import isfinite
from typing import cast

import msgspec

from dawdle._rules.pydantic_models import Model, dump
from dawdle.errors import EventError
from dawdle.events import event_style

__all__ = ["refuse_non_finite", "require_json"]


def refuse_non_finite(event: object) -> None:
    """Raise `EventError`, with the path, if an event holds NaN or infinity."""
    _refuse(_plain(event), type(event).__qualname__, event)


def require_json(data: bytes, event: object) -> None:
    """Raise for data that is no JSON: `EventError` with the path if that is because of NaN or infinity."""
    try:
        msgspec.json.decode(data)
    except msgspec.MsgspecError:
        refuse_non_finite(event)
        raise


def _plain(event: object) -> object:
    """Return an event as mappings, sequences and scalars. NaN stays NaN."""
    if event_style(type(event)) == "pydantic":
        return cast("Model", event).model_dump(mode="python", by_alias=True, round_trip=True, warnings=False)
    return cast("object", msgspec.to_builtins(event, enc_hook=_dump))


def _dump(value: object) -> object:
    return None if isinstance(value, msgspec.Raw) else dump(value)


def _refuse(value: object, path: str, source: object = None) -> None:
    """Raise `EventError`, with the path, for NaN and infinity.

    `source` is the object that became the plain `value`; None if it is not known.
    """
    if isinstance(value, float):
        if not isfinite(value):
            raise EventError(
                f"{path} is {value}, for which JSON has no number: signal None instead, or use "
                f"Dawdle(codec=dawdle.MessagePack())"
            )
    elif isinstance(value, (Mapping, list, tuple, set, frozenset)):
        for step, each, its_source in _within(cast("_Filled", value), source):
            _refuse(each, f"{path}{step}", its_source)
    elif event_style(type(value)) is not None:
        _refuse(_plain(value), path, value)


def _within(value: "_Filled", source: object) -> Iterator[tuple[str, object, object]]:
    """Yield each value in another: the step to it, the value, and its source. Keys are data, so no step shows one."""
    # A struct and a dict both become a dict. The source beside it tells whether a key is the name of a field, which the
    # error may show, or data.
    if not isinstance(value, Mapping):
        sources = cast("Sequence[object]", source) if isinstance(source, (list, tuple)) else ()
        for index, (each, its_source) in enumerate(zip(value, chain(sources, repeat(None)), strict=False)):
            yield f"[{index}]", each, its_source
    elif event_style(type(source)) is not None:
        for name, each in value.items():
            yield f".{name}", each, getattr(source, str(name), None)
    else:
        known: Mapping[object, object] = cast("_Known", source) if isinstance(source, Mapping) else {}
        for key, each in value.items():
            yield "[...]", each, known.get(key)


_Known = Mapping[object, object]
_Filled = Mapping[object, object] | Sequence[object] | AbstractSet[object]
