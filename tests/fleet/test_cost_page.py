"""The page about costs says what the figures say, and the prices are those of Amazon."""

import re

import msgspec
import pytest

from tests.fleet import cost_page
from tests.fleet.cost_page import PAGE, TABLES, with_tables
from tests.fleet.plan import SIZES
from tests.fleet.prices import BILLED_BYTES, billed, dollars, hops
from tests.fleet.report import read

PEERS = "<!-- figures: peers -->\n<!-- end -->\n"


def test_the_tables_of_the_page_are_those_of_the_figures():
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page, read()) == page, "run `python -m tests.fleet.cost_page`, which writes them"
    assert all(f"<!-- figures: {name} -->" in page for name in TABLES)


def test_a_changed_figure_changes_the_page():
    page = PAGE.read_text(encoding="utf-8")
    figures = read()
    figures.of("idle", 1).requests["ReceiveMessage"] *= 2
    assert with_tables(page, figures) != page


def test_other_libraries_are_shown_by_what_the_benchmark_counted(monkeypatch, tmp_path):
    def row(name, **contestants):
        return {
            "row": {"name": name},
            "contestants": {who: {"value": 1, "requests": of} for who, of in contestants.items()},
        }

    rows = [
        row("signal", dawdle={"SendMessageBatch": 0.1}, other={"SendMessage": 1.0}),
        row("signal_many", dawdle={"SendMessageBatch": 0.1}),
        row("receive", dawdle={"ReceiveMessage": 0.1, "DeleteMessageBatch": 0.1}, other={"ReceiveMessage": 2.0}),
    ]
    monkeypatch.setattr(cost_page, "BENCH", tmp_path / "results.json")
    assert with_tables(PEERS, read()) == PEERS, "there is no benchmark yet"
    cost_page.BENCH.write_bytes(msgspec.json.encode({"date": "today", "rows": rows}))
    _, _, ours, theirs = list(re.findall(r"^\|.*$", with_tables(PEERS, read()), re.MULTILINE))
    assert ours == "| dawdle | 0.10 | 0.10 | 0.20 | $0.12 |"
    assert theirs == "| other | 1.00 | – | 2.00 | $1.20 |"


def test_the_whole_run_lost_nothing_and_broke_no_promise():
    results = read().results
    assert {each.nodes for each in results} == set(SIZES)
    assert not [each for each in results if each.lost or each.broken]


def test_a_million_requests_cost_forty_cents():
    assert dollars(1_000_000) == pytest.approx(0.40)


@pytest.mark.parametrize(
    ("messages", "size", "requests"),
    [(1, 1, 1), (10, 6_000, 1), (1, BILLED_BYTES, 1), (1, BILLED_BYTES + 1, 2), (10, 102_400, 16), (0, 0, 1)],
)
def test_a_request_is_billed_for_each_64_kib(messages, size, requests):
    assert billed(messages, size) == requests


@pytest.mark.parametrize(("delay", "messages"), [(0, 1), (900, 1), (901, 2), (86_400, 96), (2_592_000, 2_880)])
def test_a_delay_of_more_than_15_minutes_takes_several_messages(delay, messages):
    assert hops(delay) == messages
