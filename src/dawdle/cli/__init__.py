"""The command `dawdle`. Uses what any program may use, the public names, and is loaded by no other room.

main ──► the group (_main) ──► the room of one command, imported when it is called
                                   uses _app (which app), _running (errors, exit codes), _output (tables, JSON)
"""

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process, and end it with the exit code.

    0: done. 1: it failed, or found something. 2: a mistake in the command line. 130: ended by ^C.
    """
    if missing := [package for package in ("rich", "rich_click") if find_spec(package) is None]:
        sys.exit(
            f"the command dawdle needs {' and '.join(missing)}, which its extra `cli` installs: "
            f'pip install "dawdle[cli]"'
        )
    from dawdle.cli._main import run  # noqa: PLC0415 - without the extra it cannot be imported

    run()
