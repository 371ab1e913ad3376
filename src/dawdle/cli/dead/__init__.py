"""`dawdle dead`: look at dead letters, put them back, delete them. By the same calls that any program has.

_command (the options) ──► _filters (which letters)
                      ├──► _rows, _letter (a table, one letter)
                      └──► _acting (count, ask, then redrive or purge, with a bar and ^C)
"""

from dawdle.cli.dead._command import dead

__all__ = ["dead"]
