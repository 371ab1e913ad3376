"""Who may import whom. What importing dawdle costs is in `test_imports.py`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dawdle

SOURCE = Path(dawdle.__file__).parent
FORBIDDEN_IN_RULES = {"asyncio", "anyio", "time", "random", "logging", "os", "sys", "threading"}
GROUND = {"errors", "events", "clock", "abc", "hooks", "_log", "_versions"}
ROOMS = {
    # a room: what of dawdle it may import
    "errors": set(),
    "events": {"errors", "_versions"},
    "clock": set(),
    "abc": {"clock", "errors"},
    "hooks": {"errors"},
    "_log": {"errors"},
    "_versions": {"errors"},
    "_rules": {"_rules", *GROUND} - {"clock"},
    "_handlers": {"_handlers", "_rules", *GROUND} - {"clock"},
    "_flow": {"_flow", "_handlers", "_rules", *GROUND},
    "backends": {"abc", "clock", "errors", "_log", "backends"},
    "_app": {"_app", "_flow", "_handlers", "_rules", "backends", *GROUND},
    "aws_lambda": {"aws_lambda", "backends", "dawdle", *GROUND},
    "testing": {"testing", "backends", "dawdle", *GROUND},
    "from_thread": {"_app", "errors"},
    "telemetry": {"telemetry", "dawdle", "abc", "errors", "hooks"},
    "logs": {"dawdle"},
    "_web": {"_web", "dawdle", "_log", "errors"},
    "asgi": {"_web", "dawdle", "errors"},
    "fastapi": {"_web", "asgi", "dawdle", "errors"},
    "aiohttp": {"_web", "dawdle", "errors"},
    "cli": {"cli", "aiohttp", "backends", "logs", "telemetry", "testing", "dawdle", "abc", "errors", "events", "hooks"},
    "__main__": {"cli"},
    "__init__": {"_app", "_handlers", "_rules", "from_thread", *GROUND},
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
        is_public = "dawdle" in allowed and rest in vars(dawdle) and not rest.startswith("_")
        if top == "dawdle" and rest and not is_public:
            assert rest.split(".")[0] in allowed, f"{path} must not import {name}"
        if room_of(path) == "_rules":
            assert top not in FORBIDDEN_IN_RULES, f"{path} must not import {name}"


def test_the_pytest_plugin_loads_public_names_alone_and_only_in_its_functions():
    path = SOURCE.parent / "pytest_dawdle.py"
    public = {"dawdle", *(f"dawdle.{name}" for name in ("testing", "testing.stand_in", "testing.sqs_queue"))}
    assert {name for name in imports_of(path) if name.partition(".")[0] == "dawdle"} <= public | {
        f"dawdle.{name}" for name in dawdle.__all__
    } | {"dawdle.testing.TestApp"}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            assert "dawdle" not in ast.unparse(node)


def test_dawdle_testing_does_not_load_pytest():
    code = "import dawdle.testing, dawdle.testing.sqs_queue, sys; assert not {'pytest', '_pytest'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def name_of(path):
    parts = ("dawdle", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, known):
    """The modules that a file imports, also for the type checkers alone, or late, inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            inside = [name for alias in node.names if (name := f"{node.module}.{alias.name}") in known]
            yield from inside or ([node.module] if node.module in known else [])


def circle_in(imports):
    """A module that imports itself by way of others, with these; None where there is none."""
    done = set()

    def visit(name, above):
        if name in above:
            return [*above[above.index(name) :], name]
        if name in done:
            return None
        for each in imports[name]:
            found = visit(each, [*above, name])
            if found:
                return found
        done.add(name)
        return None

    return next((found for name in imports if (found := visit(name, []))), None)


def test_no_module_imports_itself_by_way_of_others_not_even_for_the_type_checkers():
    known = {name_of(path) for path in modules()}
    imports = {name_of(path): sorted(set(imported_modules(path, known)) - {name_of(path)}) for path in modules()}
    assert circle_in(imports) is None


def test_a_circle_is_found():
    assert circle_in({"a": ["b"], "b": ["c"], "c": ["b"]}) == ["b", "c", "b"]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_says_in_its_first_line_what_it_is_for(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    if path.name != "__init__.py" or path.parent == SOURCE:
        assert text
        assert text.splitlines()[0].rstrip().endswith((".", ":"))


def test_the_public_names_are_those_of_the_design():
    names = {name for name in vars(dawdle) if not name.startswith("_")} - {
        "abc",
        "aws_lambda",
        "backends",
        "cli",
        "clock",
        "errors",
        "events",
        "hooks",
        "telemetry",
        "logs",
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
