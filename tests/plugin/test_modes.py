"""The fixtures work however a project runs its async tests."""

import pytest

SHOP = """
import asyncio
import dawdle
import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


receipts = []


@dawdle.on_event
async def send_receipt(event: OrderPlaced) -> None:
    await asyncio.sleep(0.01)
    receipts.append(event.order_id)


@dawdle.on_event
async def book_shipping(event: OrderPlaced, ctx: dawdle.Context) -> None:
    if ctx.attempt < 3:
        raise ConnectionError("the carrier does not answer")
"""

TEST = """
import asyncio
import dawdle
import pytest
from dawdle.testing import assert_handled
from shop import OrderPlaced, book_shipping, receipts, send_receipt

{mark}

async def test_first(dawdle_app, dawdle_clock, dawdle_signals):
    assert dawdle.current() is dawdle_app
    receipts.clear()
    await dawdle.signal(OrderPlaced("o-1"), delay=3600)
    await dawdle_app.advance(minutes=59)
    assert receipts == []
    await dawdle_app.advance(hours=1)
    assert receipts == ["o-1"]
    assert dawdle_signals.events == [OrderPlaced("o-1")]
    assert dawdle_app.clock is dawdle_clock
    assert_handled(OrderPlaced, book_shipping, order_id="o-1")
    await dawdle_app.idle()


async def test_an_error(dawdle_app):
    await dawdle.signal(OrderPlaced("o-2"))
    with pytest.raises(ConnectionError, match="carrier"):
        await dawdle_app.idle()


class TestInAClass:
    async def test_method(self, dawdle_app):
        await dawdle.signal(OrderPlaced("o-3"))
        await dawdle_app.advance(hours=1)
        assert_handled(OrderPlaced, send_receipt, order_id="o-3")
"""

ANYIO = "pytestmark = pytest.mark.anyio\n\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
SCOPES = {
    f"in_the_loop_of_the_{scope}": f"pytestmark = pytest.mark.asyncio(loop_scope={scope!r})"
    for scope in ("function", "class", "module", "package", "session")
}


@pytest.mark.parametrize(
    ("option", "marks"),
    [
        (
            "--asyncio-mode=strict",
            {"asyncio": "pytestmark = pytest.mark.asyncio", **SCOPES, "anyio": ANYIO, "no_marker": ""},
        ),
        pytest.param("--asyncio-mode=auto", {"no_marker": "", "anyio": ANYIO}, marks=pytest.mark.once),
        ("-pno:asyncio", {"no_marker": "", "anyio": ANYIO}),
    ],
    ids=["pytest-asyncio strict", "pytest-asyncio auto", "without pytest-asyncio"],
)
def test_an_async_test_runs_inside_its_app(run, option, marks):
    files = {f"test_{name}": TEST.format(mark=mark) for name, mark in marks.items()}
    result = run(option, shop=SHOP, **files)
    result.assert_outcomes(passed=3 * len(marks))
