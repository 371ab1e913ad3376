"""What the pages on the inside name is there: files, folders, classes and functions."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLACES = [ROOT, ROOT / "src" / "dawdle", ROOT / "tests" / "rules" / "model"]
"""Where the path of a page may begin."""

PAGES = [ROOT / "docs" / "contributing.md", *sorted((ROOT / "docs" / "explain").glob("*.md"))]
PATH = re.compile(r"`(?P<path>[\w./]+(?:\.py|/))`|`(?P<folder>(?:tests|src|docs|examples)/[\w/]+)`")
NAME = re.compile(r"`(?P<name>[A-Z][a-z]\w+)`(?!\()")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "src" / "dawdle").rglob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_path_in_a_page_exists(page):
    places = [*PLACES, ROOT / "tests"]
    paths = {match["path"] or match["folder"] for match in PATH.finditer(page.read_text(encoding="utf-8"))}
    assert not [path for path in sorted(paths) if not any((place / path).exists() for place in places)]


def test_every_class_of_the_architecture_exists():
    page = (ROOT / "docs" / "explain" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)
    names = {match["name"] for row in rows for match in NAME.finditer(row)}
    assert len(names) > 15
    assert not [name for name in sorted(names) if not re.search(rf"^class {name}\b", SOURCES, re.MULTILINE)]


def test_what_the_worked_example_calls_exists():
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    for name in ("admit", "settle", "copies_for_missing"):
        assert f"`{name}`" in page
        assert re.search(rf"^def {name}\(", SOURCES, re.MULTILINE)
