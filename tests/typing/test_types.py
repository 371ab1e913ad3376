"""What is right passes both type checkers; what is wrong is an error in both, on exactly the lines that say so."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

HERE = Path(__file__).parent
RIGHT, WRONG = HERE / "right.py", HERE / "wrong.py"


def run(command, folder):
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)


def errors_of_mypy(folder):
    (folder / "mypy.ini").write_text("[mypy]\nstrict = True\npython_version = 3.11\n")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", "cache", RIGHT, WRONG]
    done = run(command, folder)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    found = re.findall(r"(right|wrong)\.py:(\d+): error: (.*)", done.stdout)
    return [(f"{name}.py", int(line), text) for name, line, text in found]


def errors_of_pyright(folder):
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, RIGHT, WRONG]
    done = run(command, folder)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return [
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["message"])
        for each in json.loads(done.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    ]


CHECKERS = {"mypy": errors_of_mypy, "pyright": errors_of_pyright}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_is_right_passes_and_what_is_wrong_is_an_error_where_it_says_so(checker, tmp_path):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    found = CHECKERS[checker](tmp_path)
    lines = WRONG.read_text(encoding="utf-8").splitlines()
    wanted = {number for number, line in enumerate(lines, start=1) if line.endswith("# error")}
    wrong = {line for name, line, _ in found if name == "wrong.py"}
    assert [(line, text) for name, line, text in found if name == "right.py"] == []
    assert [(number, lines[number - 1].strip()) for number in sorted(wanted - wrong)] == [], "these pass and should not"
    assert [(line, text) for name, line, text in found if name == "wrong.py" and line not in wanted] == []
    assert len(wanted) > 100, "the marks were found"


GUIDES = HERE.parents[1] / "docs/guides"


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize(
    ("page", "contains"),
    [("dead-letters", "letter.event.total"), ("from-background-tasks", "dawdle_app.advance(days=7)")],
)
def test_the_examples_of_a_guide_pass(checker, page, contains, tmp_path):
    if find_spec(checker) is None:
        pytest.skip(f"{checker} is not installed")
    text = (GUIDES / f"{page}.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert any(contains in block for block in blocks), "the one that matters"
    for number, block in enumerate(blocks):
        named = re.match(r"# (\w+\.py)\n", block)
        (tmp_path / (named[1] if named else f"example_{number}.py")).write_text(block, encoding="utf-8")
    if checker == "mypy":
        done = run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", "cache", "."], tmp_path)
    else:
        settings = {"typeCheckingMode": "strict", "include": ["."]}
        (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
        done = run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
