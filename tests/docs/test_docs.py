"""README and docs, checked against the code: every Python block runs, prints what it is said to print, and names
what exists.

How a block is run follows from the page itself:

- a block that begins with `# some/path.py` is a file of the page's folder, and the page's other blocks can import it;
- one that begins with `# test_….py` is run by pytest; any other is run as a script, alone, in a process of its own;
- a `text` block after a paragraph that ends with "prints:" is what the Python block before it prints, "prints, in some
  order:" leaves the order of lines open, and `…` stands for anything within a line;
- `<!-- not run: why -->` above a block leaves it out.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import pytest
from tests.plugin_entry_point import plugin_is_installed

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]

FENCE = re.compile(r"^```(?P<info>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (?P<path>[\w/]+\.py)\n")
NAME = re.compile(r"`(?:await |@)?(?P<name>(?:dawdle|app|ctx|registry)(?:\.\w+)+)")
STAND_FOR = {"app": "dawdle.Dawdle", "ctx": "dawdle.Context", "registry": "dawdle.Registry"}
"""What a name in the running text is one of."""

TELEMETRY = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "dawdle" / "telemetry").glob("*.py"))
ON_THE_WIRE = {"dawdle.undecodable", *re.findall(r'"(dawdle\.[a-z_.]+)"', TELEMETRY)}
"""Names that look like code, and are types of messages, metrics, or attributes of spans."""

LONGEST = 100
"""Seconds after which a block is killed; on a busy machine some take twenty."""


@dataclass
class Block:
    """A fenced Python block, and what the page says that it prints."""

    page: Path
    line: int
    text: str
    run: bool
    prints: str | None = None
    in_order: bool = True
    files: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        named = FILE.match(self.text)
        return named["path"] if named else "snippet.py"

    @property
    def is_module(self) -> bool:
        return "/" in self.path

    @property
    def is_test(self) -> bool:
        return Path(self.path).name.startswith("test_")

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in FENCE.finditer(text):
        before = text[: fence.start()].rstrip()
        if fence["info"] == "python":
            line = text.count("\n", 0, fence.start()) + 1
            found.append(Block(page, line, fence["text"], run=not before.splitlines()[-1].startswith("<!-- not run:")))
        elif fence["info"] == "text" and before.endswith(("prints:", "prints, in some order:")):
            found[-1].prints = fence["text"]
            found[-1].in_order = before.endswith("prints:")
    files = {block.path: block.text for block in found if FILE.match(block.text)}
    for block in found:
        block.files = files
    return found


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


@contextmanager
def fork_server(package):
    """Run a process that has imported a package; yields a function that runs a script in a fork of it.

    The function returns the exit code and what was printed to stdout and stderr.
    """
    command = [sys.executable, "-X", "utf8", "-W", "error", Path(__file__).with_name("fork_server.py"), package]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def run(folder, *argv):
            said = {name: value for name, value in os.environ.items() if not name.startswith("DAWDLE_")}
            printed, errors = folder / ".stdout", folder / ".stderr"
            asked = {
                "argv": argv,
                "folder": str(folder),
                "environment": {**said, "PYTHONPATH": str(folder)},
                "printed": str(printed),
                "errors": str(errors),
                "longest": LONGEST,
            }
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            return code, printed.read_text(encoding="utf-8"), errors.read_text(encoding="utf-8")

        yield run


@pytest.fixture(scope="module")
def fork():
    """`fork(package)` returns the function that runs a script where this package is imported already."""
    with ExitStack() as stack:
        servers = {}

        def server(package):
            if package not in servers:
                servers[package] = stack.enter_context(fork_server(package))
            return servers[package]

        yield server


def prints_as_said(printed, block):
    said = block.prints.splitlines()
    lines = printed.splitlines()
    if not block.in_order:
        said, lines = sorted(said), sorted(lines)
    patterns = ["".join(re.escape(part) if part != "…" else ".*" for part in re.split("(…)", line)) for line in said]
    return len(lines) == len(said) and all(map(re.fullmatch, patterns, lines))


@pytest.mark.slow
@pytest.mark.parametrize("block", [block for block in BLOCKS if block.run and not block.is_module], ids=str)
def test_a_block_runs_as_printed(block, fork, tmp_path):
    for path, text in {**block.files, block.path: block.text}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    if block.is_test:
        options = ["-q", *(f"-pno:{plugin}" for plugin in ("cacheprovider", "asyncio", "faker", "xdist"))]
        options += ["-c", os.devnull, "--rootdir", "."]
        options += [] if plugin_is_installed() else ["-p", "pytest_dawdle"]
        code, printed, errors = fork("pytest")(tmp_path, "pytest", *options, block.path)
    else:
        code, printed, errors = fork("dawdle")(tmp_path, block.path)
    assert code == 0, printed + errors
    assert "never retrieved" not in errors
    assert "was destroyed" not in errors
    if block.prints is not None:
        assert prints_as_said(printed, block), f"it printed:\n{printed}\n{errors}"


LEAVES_MUCH = """
import os, sys, dawdle
class Left: pass
@dawdle.on_event
async def handler(event: Left) -> None: pass
sys.modules["left"] = sys.path.append("left") or Left
os.environ["LEFT"] = os.getcwd()
import shop
"""
FINDS_NOTHING = """
import os, sys, dawdle
assert sys.modules["__main__"].__dict__ is globals() and "handler" not in globals()
assert not {"left", "shop", "pytest", "json.tool"} & set(sys.modules)
assert "left" not in sys.path and "LEFT" not in os.environ
assert sorted(os.listdir()) == [".stderr", ".stdout", "second.py"]
print(dawdle.on_event.__self__)
"""


def test_a_block_sees_nothing_of_the_block_before(fork, tmp_path):
    run, folders = fork("dawdle"), [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    (folders[0] / "first.py").write_text(LEAVES_MUCH)
    (folders[0] / "shop.py").write_text("")
    (folders[1] / "second.py").write_text(FINDS_NOTHING)
    assert run(folders[0], "first.py") == (0, "", "")
    code, printed, errors = run(folders[1], "second.py")
    assert (code, errors) == (0, "")
    assert printed == "<Registry of no handlers>\n"


@pytest.mark.parametrize(
    ("script", "code", "errors"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import asyncio; asyncio.new_event_loop()", 0, "ResourceWarning: unclosed event loop"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
    ],
)
def test_a_block_that_ends_badly_is_noticed(fork, tmp_path, script, code, errors):
    (tmp_path / "bad.py").write_text(script)
    ended, _, told = fork("dawdle")(tmp_path, "bad.py")
    assert ended == code
    assert errors in told


def test_every_page_was_found_and_few_blocks_are_left_out():
    assert len(PAGES) > 15
    assert len(BLOCKS) > 30
    assert sum(not block.run for block in BLOCKS) <= 5


def found(name):
    """What a dotted name means, None if there is no such thing."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            declared = getattr(thing, "__annotations__", {}).get(part)
            thing = getattr(thing, part, declared)
        return thing
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_name_of_dawdle_in_a_page_exists(page):
    prose = FENCE.sub("", page.read_text(encoding="utf-8"))
    names = {match["name"] for match in NAME.finditer(prose)} - ON_THE_WIRE
    assert not [name for name in names if found(re.sub(r"^\w+", lambda m: STAND_FOR.get(m[0], m[0]), name)) is None]


@pytest.mark.parametrize(("session", "needs"), [("demo", "nox"), ("tests", "nox uv")])
def test_the_readme_has_the_command_under_its_marker(session, needs):
    assert (
        f"<!-- command: {session} -->\n```sh\n"
        f"python3 -m venv .venv && .venv/bin/pip install -q {needs} && .venv/bin/nox -s {session}\n```\n"
    ) in PAGES[0].read_text(encoding="utf-8")


def test_the_readmes_quickstart_its_test_and_its_function_are_in_the_examples():
    blocks = blocks_of(PAGES[0])
    assert [block.path for block in blocks] == ["quickstart.py", "test_quickstart.py", "04_functions.py"]
    for block in blocks:
        text, named = (ROOT / "examples" / block.path).read_text(encoding="utf-8"), f"# {block.path}\n"
        assert text.removeprefix(named) == block.text.removeprefix(named)


def test_the_index_begins_in_the_words_of_the_readme():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert index.startswith("```{include} ../README.md\n")
    (end,) = re.findall(r"^:end-before: (.*)$", index, re.MULTILINE)
    assert end in PAGES[0].read_text(encoding="utf-8")
