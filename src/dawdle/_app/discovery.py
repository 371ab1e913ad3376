"""Imports the modules of packages, so that their decorators run. Registers nothing itself."""

__all__ = ["discover"]


def discover(*packages: str) -> list[str]:
    """Import modules, and all modules below those that are packages; return their names in the order of import.

    Call `dawdle.discover("shop")` in a worker's main module, so that every `@on_event` and `@event` in the package
    runs. A folder is a package with and without an `__init__.py`, as in Python. Folders that hold no module at any
    depth are left out, and so are `__main__` modules.

    Raises `ConfigurationError` without a name, for a name that is no module, and for a path, before any import. Errors
    of the modules themselves are not caught.
    """
    from dawdle._app.package_walk import import_packages  # noqa: PLC0415 - only a worker needs pathlib and pkgutil

    return import_packages(packages)
