"""The pictures of the docs, which are drawn by hand: a phone shows them whole and legible, by day and by night."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = sorted((DOCS / "images").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"

PHONE = 328
"""Pixels that a page has for its text on a phone of 360."""

LEGIBLE = 10
"""Pixels that a line of text must have at least."""


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_legible_on_a_phone(picture):
    root = ET.parse(picture).getroot()
    width = float(root.attrib["viewBox"].split()[2])
    sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([\d.]+)px", root.find(f"{SVG}style").text)]
    assert sizes
    assert min(sizes) * min(1, PHONE / width) >= LEGIBLE


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_drawn_for_light_and_dark_and_told_in_words(picture):
    root = ET.parse(picture).getroot()
    assert "@media (prefers-color-scheme: dark)" in root.find(f"{SVG}style").text
    assert all(root.find(f"{SVG}{name}").text.strip() for name in ("title", "desc"))


def test_every_picture_is_shown_on_a_page_and_no_page_lacks_one():
    shown = set()
    for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]:
        for source in re.findall(r"!\[[^]]*\]\(([^)]+\.svg)\)", page.read_text(encoding="utf-8")):
            shown.add((page.parent / source).resolve())
    assert shown == set(DOCS.joinpath("images").rglob("*.svg"))


@pytest.mark.parametrize("picture", sorted(DOCS.glob("images/terminal/*.svg")), ids=lambda path: path.name)
def test_a_picture_of_a_terminal_asks_no_other_site_for_a_font(picture):
    assert "url(http" not in picture.read_text(encoding="utf-8")
