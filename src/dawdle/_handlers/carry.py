"""Context variables that travel as headers (`carry=`): checks them, and reads and sets them. Stores nothing."""

from collections.abc import Collection, Mapping
from contextvars import ContextVar, copy_context
from typing import cast

from dawdle._rules.envelope import check_headers
from dawdle.errors import ConfigurationError, shown

__all__ = ["Carry", "carried", "read_carry", "require_apart", "set_carried"]

Carry = Mapping[str, ContextVar[str] | ContextVar[str | None]]
"""Context variables, by the names of the headers in which their values travel."""


def read_carry(given: object) -> Carry:
    """Return what is given as `carry=`. Raises `ConfigurationError` for what cannot travel."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f'carry is a mapping of header names to context variables, such as {{"requestid": request_id}}, not '
            f"{shown(given)}"
        )
    carry = dict(cast("Mapping[str, object]", given))
    check_headers(dict.fromkeys(carry, ""))
    for name, variable in carry.items():
        if not isinstance(variable, ContextVar):
            raise ConfigurationError(f"carry: {name!r} is a contextvars.ContextVar, not {shown(variable)}")
    return cast("Carry", carry)


def require_apart(carry: Carry, headers: Collection[str]) -> None:
    """Raise `ConfigurationError` if one of the app's headers has the name of a variable that travels."""
    both = sorted(carry.keys() & set(headers))
    if both:
        raise ConfigurationError(f"{', '.join(both)}: in carry= and in headers= of the app; name a header in one only")


def carried(carry: Carry) -> dict[str, str]:
    """Return the headers of an event that is signaled here: of each variable that is set, its value.

    Raises `ConfigurationError` for a value that is not text.
    """
    headers: dict[str, str] = {}
    here = copy_context()
    for name, variable in carry.items():
        # A default is not looked at: each process has it anyway, and it may be of any type.
        value = here.get(cast("ContextVar[object]", variable))
        if isinstance(value, str):
            headers[name] = value
        elif value is not None:
            raise ConfigurationError(
                f"carry: the variable of {name!r} holds {shown(value)}, and only text travels: let it hold text, or "
                f"carry another variable that holds the same as text"
            )
    return headers


def set_carried(carry: Carry, headers: Mapping[str, str]) -> None:
    """Set the variables whose headers an event has. The others stay as they are."""
    for name, variable in carry.items():
        if name in headers:
            variable.set(headers[name])
