"""The numbered examples print what their first lines say, and the service passes its own tests."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.plugin_entry_point import plugin_is_installed

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("[0-9]*.py") if "asyncio.run(" in path.read_text())


def test_they_are_numbered_without_a_gap():
    assert len(SCRIPTS) >= 7
    numbered = sorted(path.name[:2] for path in EXAMPLES.glob("[0-9]*.py"))
    assert numbered == [f"{number + 1:02}" for number in range(len(numbered))]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_it_prints_what_it_says(script):
    about = ast.get_docstring(ast.parse((EXAMPLES / script).read_text()))
    first, printed = about.split("\n\n", 1)
    assert first.endswith(f"Run: python {script}")
    ended = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.splitlines()) == sorted(printed.splitlines())


@pytest.mark.slow
def test_the_service_passes_its_own_tests_by_the_plugin(tmp_path):
    plugin = [] if plugin_is_installed() else ["-p", "pytest_dawdle"]
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, *plugin, "-p", "no:cacheprovider", "service"]
    ended = subprocess.run(
        [*command, f"--basetemp={tmp_path / 'service'}"],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "6 passed" in ended.stdout


def test_the_manifest_gives_handlers_their_grace_and_asks_probes_that_exist():
    yaml = pytest.importorskip("yaml")
    manifests = list(yaml.safe_load_all((EXAMPLES / "service" / "kubernetes.yaml").read_text()))
    pod = next(each for each in manifests if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    # Grace, flush and a little for the web server; see `grace=` and the guide on stopping.
    assert pod["terminationGracePeriodSeconds"] >= 25 + 3 + 5
    (container,) = pod["containers"]
    asked = {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert asked == {"/live", "/ready"}  # its own tests ask them too
