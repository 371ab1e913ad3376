"""What `import dawdle` loads: each module costs a process its time, whether it uses the module or not."""

import subprocess
import sys

import pytest

FIRST_USES = {
    "discover": """
assert "json.decoder" in dawdle.discover("json")
""",
    "signing": """
from dawdle._rules.signing import Signer
signer = Signer({"new": b"k" * 32})
assert signer.unsigned(signer.sign(b'{"id":"1"}')) == b'{"id":"1"}'
""",
    "deduplication": """
from dawdle._rules.dedup import dedup_of
assert len(dedup_of("1", None, key=None, origin="")) == 64
""",
    "dataclass": """
from dataclasses import dataclass

@dataclass
class Paid:
    order: str

async def main():
    async with dawdle.Dawdle(registry=dawdle.Registry()) as app:
        app.register(handle, Paid)
        await app.signal(Paid("o-1"))
        await app.idle()

async def handle(event):
    got.append(event)

got = []
asyncio.run(main())
assert got == [Paid("o-1")]
""",
    "model in a struct": """
import pydantic

class Line(pydantic.BaseModel):
    item: str

class Order(msgspec.Struct):
    line: Line

codec, order = dawdle.JSON(), Order(Line(item="x"))
assert codec.decode(codec.encode(order), Order) == order
""",
    "dead letters": """
class Paid(msgspec.Struct):
    order: str

async def main():
    registry = dawdle.Registry()

    @registry.on_event
    async def handle(event: Paid):
        raise dawdle.Reject("no")

    async with dawdle.Dawdle(registry=registry) as app:
        await app.signal(Paid("o-1"))
        await app.idle()
        assert [letter.event async for letter in app.dead_letters()] == [Paid("o-1")]
        assert await app.redrive(Paid) == 1
        await app.idle()
        assert await app.purge() == 1

asyncio.run(main())
""",
    "run": """
import os, signal

async def lifespan(app):
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    yield

import contextlib
dawdle.Dawdle(registry=dawdle.Registry(), lifespan=contextlib.asynccontextmanager(lifespan)).run()
""",
}
"""The first use, in a process of its own, of all that dawdle imports only when it is used."""


def run(code):
    """Run a program that has asyncio and msgspec, and return what it prints."""
    command = [sys.executable, "-c", f"import asyncio, msgspec, sys\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def loaded():
    """The modules that `import dawdle` adds to those of asyncio and msgspec."""
    return set(run("before = {*sys.modules}; import dawdle; print(*{*sys.modules} - before)").split())


def test_importing_dawdle_loads_nothing_else_beyond_asyncio_and_msgspec(loaded):
    assert {name for name in loaded if name.split(".")[0] != "dawdle"} == set()


@pytest.mark.parametrize(
    "module",
    [
        "dawdle.backends.memory",
        "dawdle.backends.sqs",
        "dawdle.testing",
        "dawdle._app.package_walk",
        "dawdle._app.worker",
        "dawdle._flow.dead_letter_scan",
        "dawdle._flow.runtime",
    ],
)
def test_importing_dawdle_does_not_load_what_only_some_programs_use(loaded, module):
    assert module not in loaded


@pytest.mark.slow
@pytest.mark.parametrize("use", FIRST_USES.values(), ids=FIRST_USES)
def test_what_is_imported_late_works_at_its_first_use(use):
    run(f"import dawdle\n{use}")
