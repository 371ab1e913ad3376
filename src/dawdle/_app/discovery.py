"""Imports the modules of a package, so that their decorators run."""

import pkgutil
from importlib import import_module

from dawdle.errors import ConfigurationError

__all__ = ["discover"]


def discover(*packages: str) -> list[str]:
    """Import modules, and all modules below those that are packages; return their names in the order of import.

    Call `dawdle.discover("shop")` in a worker's main module, so that every `@on_event` and `@event` in there is known.
    `__main__` modules are left out. Raises `ConfigurationError` for a name that is no module; what a
    module itself raises is not caught.
    """
    found: dict[str, None] = {}
    for name in packages:
        _import(name, found)
    return list(found)


def _import(name: str, found: dict[str, None]) -> None:
    if name in found:
        return
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ConfigurationError(f"discover({name!r}): there is no module {error.name!r} on the path") from error
    found[name] = None
    for below in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if not below.name.endswith(".__main__"):
            _import(below.name, found)
