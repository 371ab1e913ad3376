"""Runs test files of a user in a pytest process of its own, in which dawdle's plugin is found by its entry point."""

import os
import tomllib
from pathlib import Path

import pytest
from tests.plugin_entry_point import plugin_is_installed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(pytester, monkeypatch):
    """Write files and run pytest on them; return its result."""
    path = [str(ROOT / "src")]
    if not plugin_is_installed():
        # The tests run from a checkout that is not installed: this is what the installer would write.
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        info = pytester.mkdir("installed") / "dawdle-0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dawdle\nVersion: 0\n")
        points = project["entry-points"]["pytest11"].items()
        (info / "entry_points.txt").write_text("[pytest11]\n" + "".join(f"{name} = {each}\n" for name, each in points))
        path.append(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    for variable in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)

    def run(*options, ini="", **files):
        if "-pno:asyncio" not in options:
            ini += "\nasyncio_default_fixture_loop_scope = function"
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}\n")
        pytester.makepyfile(**files)
        return pytester.runpytest_subprocess(
            "-p", "no:cacheprovider", "-p", "no:faker", "--timeout=120", *options, timeout=240
        )

    return run
