from dawdle.backends.sqlite._backend import SQLite

__all__ = ["SQLite"]
