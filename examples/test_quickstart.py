# test_quickstart.py
import pytest

import dawdle
from dawdle.backends.memory import Memory
from dawdle.testing import ManualClock
from quickstart import OrderPlaced


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_an_order_of_tomorrow(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    async with dawdle.Dawdle(Memory(clock=clock), clock=clock) as app:
        await app.signal(OrderPlaced(order_id="o-1", total=100), delay=86_400)
        await clock.advance(86_399)
        assert capsys.readouterr().out == ""
        await clock.advance(60)
        printed = capsys.readouterr().out
        assert printed == "receipt for o-1: 100 EUR\nparcel for o-1, attempt 2\n"
