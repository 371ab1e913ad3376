"""Runs the blocks of the docs, each in a fork of a process that has imported one package and nothing else.

    python -X utf8 -W error fork_server.py dawdle

Each line that it reads is a block to run: its command line, folder, environment and the files for what it prints. It
answers each with the exit code. A fork becomes the script: it ends as an interpreter ends, and what it did ends with
it. No test module may be imported here, for a block would find its imports done.
"""

import json
import os
import signal
import sys
from importlib import import_module
from types import ModuleType


def serve() -> dict | None:
    """Fork for each line until there are no more. Returns in the forks, with what was asked of them."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def move_in(asked: dict) -> None:
    """Give this process the folder, the environment and the files of the block."""
    signal.alarm(asked["longest"])  # a block that hangs is killed
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    for number, path in enumerate((os.devnull, asked["printed"], asked["errors"])):
        file = os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY)
        os.dup2(file, number)
        os.close(file)
    sys.path[0] = asked["folder"]
    sys.argv = asked["argv"]


def become(asked: dict) -> None:
    """Run the block as `python PATH` or `python -m pytest ARGUMENTS` would."""
    if sys.argv[0] == "pytest":
        import pytest

        sys.exit(pytest.main(sys.argv[1:]))
    path = f"{asked['folder']}/{sys.argv[0]}"
    main = ModuleType("__main__")
    main.__file__ = path
    sys.modules["__main__"] = main
    with open(path, encoding="utf-8") as file:
        code = compile(file.read(), path, "exec")
    exec(code, main.__dict__)


import_module(sys.argv[1])
asked = serve()
if asked is not None:
    move_in(asked)
    become(asked)
