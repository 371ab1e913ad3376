"""What importing a door loads, and what it says where its framework is missing."""

import subprocess
import sys

import pytest


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout, done.stderr.splitlines()[-1:]


@pytest.mark.parametrize("module", ["dawdle", "dawdle.asgi"])
def test_no_framework_is_loaded_without_its_door(module):
    code = f"import sys, {module}; print({{'fastapi', 'starlette', 'litestar', 'aiohttp'}} & set(sys.modules))"
    assert run(code) == ("set()\n", [])


@pytest.mark.parametrize(
    ("door", "missing", "text"),
    [
        (
            "fastapi",
            "fastapi",
            "dawdle.fastapi needs FastAPI, and cannot import fastapi: pip install 'dawdle[fastapi]'",
        ),
        ("aiohttp", "aiohttp", "dawdle.aiohttp needs aiohttp, and cannot import aiohttp: pip install aiohttp"),
    ],
)
def test_a_missing_framework_is_named_with_what_to_install(door, missing, text):
    printed, (error,) = run(f"import sys; sys.modules[{missing!r}] = None; import dawdle.{door}")
    assert printed == ""
    assert error.startswith(f"ModuleNotFoundError: {text}")
