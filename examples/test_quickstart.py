# test_quickstart.py
import pytest

from dawdle.testing import TestApp
from quickstart import OrderPlaced


async def test_an_order_of_tomorrow(dawdle_app: TestApp, capsys: pytest.CaptureFixture[str]) -> None:
    await dawdle_app.signal(OrderPlaced(order_id="o-1", total=100), delay=86_400)
    await dawdle_app.advance(hours=23, minutes=59)
    assert capsys.readouterr().out == ""
    await dawdle_app.advance(minutes=2)
    assert capsys.readouterr().out == "receipt for o-1: 100 EUR\nparcel for o-1, attempt 2\n"
