"""The shortest part of the journeys in journey.py, which `nox -s dead` runs: a question is asked in a real terminal."""

import sys

import pytest

from tests.cli.dead.shop import SHOP, leave_letters, stored

pytestmark = pytest.mark.once


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_letters_are_redriven_in_a_terminal_where_the_answer_is_yes(cli):
    from tests.cli.dead.journey import Shell

    shell = Shell(cli.where, {})
    cli.write("shop.py", SHOP)
    leave_letters(("OrderPlaced", "o-1"), ("OrderCancelled", "o-2"))
    code, seen = shell.typed("dead", "redrive", "shop:app", columns=200, answer="y\n")
    assert "Redrive 2 dead letters (1 Order" in seen
    assert "[y/N]: y" in seen
    assert "2 dead letters redriven" in seen
    letters, waiting = stored()
    assert (code, letters, len(waiting)) == (0, [], 2)
