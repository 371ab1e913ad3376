"""The walls of the house: who may import whom, and what importing dawdle costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dawdle

SOURCE = Path(dawdle.__file__).parent
FORBIDDEN_IN_RULES = {"asyncio", "anyio", "time", "random", "logging", "os"}
GROUND = {"errors", "events", "clock", "abc", "hooks", "_log"}
ROOMS = {
    # a room: what of dawdle it may import
    "errors": set(),
    "events": {"errors"},
    "clock": set(),
    "abc": {"clock", "errors"},
    "hooks": {"errors"},
    "_log": {"errors"},
    "_rules": {"_rules", *GROUND} - {"clock"},
    "_flow": {"_flow", "_rules", *GROUND},
    "backends": {"abc", "clock", "errors", "_log", "backends"},
    "_app": {"_app", "_flow", "_rules", "backends", *GROUND},
    "testing": {"testing", "backends", "dawdle", *GROUND},
    "from_thread": {"_app", "errors"},
    "__init__": {"_app", "_rules", "from_thread", *GROUND},
}


def modules():
    return sorted(SOURCE.rglob("*.py"))


def room_of(path):
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module
            if node.module == "dawdle":
                yield from (f"dawdle.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path):
    allowed = ROOMS[room_of(path)]
    for name in imports_of(path):
        top, _, rest = name.partition(".")
        if top == "dawdle" and rest:
            assert rest.split(".")[0] in allowed, f"{path} must not import {name}"
        if room_of(path) == "_rules":
            assert top not in FORBIDDEN_IN_RULES, f"{path} must not import {name}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_in_its_first_line_what_it_is_for(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    if path.name != "__init__.py" or path.parent == SOURCE:
        assert text
        assert text.splitlines()[0].rstrip().endswith((".", ":"))


def test_importing_dawdle_loads_no_aws_code_and_no_optional_package():
    code = "import dawdle, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert not {"botocore", "aiobotocore", "aiohttp", "pydantic", "attr", "attrs"} & set(loaded.split())


def test_the_public_names_are_those_of_the_design():
    names = {name for name in vars(dawdle) if not name.startswith("_")} - {
        "abc",
        "backends",
        "clock",
        "errors",
        "events",
        "hooks",
        "testing",
    }
    assert names >= {
        "Context",
        "Dawdle",
        "DeadLetter",
        "Registry",
        "Reject",
        "Retry",
        "RetryLater",
        "current",
        "discover",
        "event",
        "from_thread",
        "on_event",
        "signal",
        "signal_many",
    }
