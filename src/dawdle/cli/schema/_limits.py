"""Whether a value that kept one set of limits keeps another. Limits in, yes or no out.

What cannot be told counts as no: two patterns may mean the same, and only equal ones are sure to.
"""

from collections.abc import Callable, Mapping
from typing import cast

from dawdle.cli.schema._shapes import Limits

__all__ = ["keeps"]


def keeps(written: Limits, read: Limits) -> bool:
    """Whether each value within the limits of its writer is within those of its reader."""
    has = dict(written)
    return all(has.get(name) == value or _follows(has, name, value) for name, value in read)


def _follows(has: Mapping[str, object], name: str, value: object) -> bool:
    """Whether one limit follows from others."""
    match name, value:
        case "ge" | "gt", int() | float():
            return _bound(
                has, ("ge", "gt"), lambda mine, open_: mine > value or (mine == value and (open_ or name == "ge"))
            )
        case "le" | "lt", int() | float():
            return _bound(
                has, ("le", "lt"), lambda mine, open_: mine < value or (mine == value and (open_ or name == "le"))
            )
        case "min_length", int():
            return value == 0 or cast("int", has.get(name, -1)) >= value
        case "max_length", int():
            return name in has and cast("int", has[name]) <= value
        case "multiple_of", int():
            mine = has.get(name)
            return isinstance(mine, int) and mine % value == 0
        case _:
            return False


def _bound(has: Mapping[str, object], names: tuple[str, str], holds: Callable[[float, bool], bool]) -> bool:
    """Whether one of two bounds, which includes its value or does not, is tight enough."""
    return any(isinstance(mine := has.get(name), (int, float)) and holds(mine, name in {"gt", "lt"}) for name in names)
