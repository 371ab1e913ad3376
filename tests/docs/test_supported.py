"""The page of what is supported says what pyproject.toml says."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "supported.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_page_names_every_python_of_the_matrix():
    versions = [
        version
        for each in PROJECT["project"]["classifiers"]
        if (version := each.removeprefix("Programming Language :: Python :: 3.")).isdecimal()
    ]
    assert len(versions) >= 3
    assert f"| Python | {', '.join(f'3.{version}' for version in versions)};" in PAGE


@pytest.mark.parametrize("requirement", PROJECT["project"]["dependencies"])
def test_the_page_names_the_oldest_version_of_what_dawdle_needs(requirement):
    name, version = requirement.split(">=")
    assert f"| {name} | {version} or later | {version} with Python" in PAGE


@pytest.mark.parametrize(("name", "called"), [("attrs", "attrs classes"), ("pydantic", "pydantic models")])
def test_the_page_names_the_oldest_version_that_events_are_tested_with(name, called):
    (version,) = (
        match[1] for each in PROJECT["dependency-groups"]["test"] if (match := re.match(rf"{name}>=(.*)", str(each)))
    )
    assert f"{called} from {version}" in PAGE
