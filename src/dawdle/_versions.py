"""Checks the version of an event type, and its upcasters. Runs none of them: `_rules.upcasting` does.

    version 1 ── upcasters[1] ──► version 2 ── upcasters[2] ──► version 3, which the class reads

An upcaster takes the data of one version as plain values and returns that of the next.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from dawdle.errors import ConfigurationError, shown

__all__ = ["MAX_VERSION", "Upcaster", "read_upcasters"]

Upcaster = Callable[[Any], Mapping[str, object] | Sequence[object]]
"""A function that takes the data of one version, as a rule a dict, and returns the data of the next version.

Its parameter is `Any`, so that it may be annotated with a `TypedDict` of the old data.
"""

MAX_VERSION: Final = 2**31 - 1
"""The largest integer that CloudEvents allows as an attribute."""


def read_upcasters(version: object, upcasters: object) -> Mapping[int, Upcaster]:
    """Return the upcasters of a type by the version that each of them reads, the oldest first.

    Raises `ConfigurationError` unless they lead, each to the next, to `version`. A version above 1 needs the option:
    `upcasters={}` says that no data of an older version is left.
    """
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        raise ConfigurationError(f"version is a whole number of 1 or more, not {shown(version)}")
    if upcasters is None:
        if version == 1:
            return {}
        raise ConfigurationError(
            f"version={version} without upcasters: events of version {version - 1} may be in the queue. Write "
            f"upcasters={{{version - 1}: upcast}}, where upcast is a function that takes the data of version "
            f"{version - 1}, a dict, and returns that of version {version}; or upcasters={{}} if none are left"
        )
    if not isinstance(upcasters, Mapping):
        raise ConfigurationError(f"upcasters maps versions to functions, such as {{1: upcast}}, not {shown(upcasters)}")
    given = cast("Mapping[object, object]", upcasters)
    for each, function in given.items():
        _require_upcaster(each, function, version)
    read = {each: cast("Upcaster", given[each]) for each in sorted(cast("Mapping[int, Upcaster]", given))}
    for each in range(min(read, default=version), version):
        if each not in read:
            raise ConfigurationError(
                f"upcasters has none for version {each}: each function leads to the next version, up to "
                f"version={version}"
            )
    return read


def _require_upcaster(version: object, function: object, latest: int) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version < latest:
        raise ConfigurationError(
            f"upcasters maps versions below version={latest} to functions: {shown(version)} is none"
            + (" of them, since an upcaster stands under the version that it reads" if version == latest else "")
        )
    if not callable(function):
        raise ConfigurationError(f"the upcaster of version {version} is a function, not {shown(function)}")
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise ConfigurationError(
            f"the upcaster of version {version} is a plain function, neither `async def` nor with a yield: it gets "
            f"data, and returns data"
        )
