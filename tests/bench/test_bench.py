"""The benchmark in miniature, so that it does not rot: each measurement runs, and what it finds is told rightly."""

import sys
from math import ceil

import pytest

from tests.bench import plot, tables
from tests.bench.__main__ import JSON, PAGE, PICTURE
from tests.bench.contestants import MODULES
from tests.bench.findings import Findings, find, findings, read
from tests.bench.quick import regressions
from tests.bench.rows import HEART, REST, Row, Target
from tests.bench.work import Job, Result, Work

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="the benchmark reads CPU by getrusage, which Windows lacks"),
]

TINY = Work(seconds=0.02, in_flight=20, concurrency=40, signalers=20)
CASES = [
    ("dawdle", "send_each", "stub"),
    ("dawdle", "receive", "stub"),
    ("dawdle", "receive", "server"),
    ("dawdle", "pass_through", "memory"),
    ("dawdle", "parked", "memory"),
    ("dawdle", "held", "stub"),
    ("dawdle", "delayed", "memory"),
    ("dawdle", "import", "memory"),
    ("dawdle", "latency", "memory"),
    *((name, "closed", "memory" if kind == "memory" else "stub") for name, kind in MODULES if name != "dawdle"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("contestant", "measure", "where"), CASES, ids=lambda value: value.replace(" ", "_"))
def test_a_measurement_ends_with_what_it_is_for(contestant, measure, where):
    from tests.bench.processes import measure as run

    if measure != "import":
        pytest.importorskip(package_of(contestant, where))
    result = run(Job(contestant=contestant, measure=measure, where=where, work=TINY))
    assert result.events > 0
    if measure == "held":
        assert result.bytes is not None
    elif measure == "import":
        assert result.milliseconds > 0
    else:
        assert result.cpu_us > 0
        assert bool(result.requests) == (where != "memory")
    if measure == "latency":
        assert list(result.latency) == ["1%", "50%", "90%"]
        assert all(0 < p50 <= p99 for p50, p99 in result.latency.values())


def package_of(contestant, where):
    """Return a module that is there when the contestant can be measured."""
    kind = "memory" if where == "memory" else "sqs"
    return {
        ("taskiq", "sqs"): "taskiq_aio_sqs",
        ("aiobotocore", "sqs"): "aiobotocore",
        ("bare task", "memory"): "asyncio",
    }.get((contestant, kind), contestant)


def test_requests_and_entries_are_counted_by_the_server():
    pytest.importorskip("httptools")
    from tests.bench.processes import measure

    result = measure(Job(contestant="dawdle", measure="send_many", where="stub", work=TINY))
    assert result.entries["SendMessageBatch"] == result.events
    assert result.requests["SendMessageBatch"] == ceil(result.events / 10)


def test_rows_name_what_there_is_and_every_target_has_its_peer():
    from tests.bench.measures import MEASURES

    rows = {row.name: row for row in (*HEART, *REST)}
    assert len(rows) == len(HEART) + len(REST)
    for row in rows.values():
        assert row.measure in MEASURES
        assert row.measure == "import" or all(
            (name, "memory" if row.where == "memory" else "sqs") in MODULES for name in row.contestants
        )
        if row.target is not None and row.target.peer:
            assert row.target.peer in rows[row.target.row or row.name].contestants


ROW = Row(
    name="signal",
    title="signals",
    measure="send_each",
    where="stub",
    contestants=("dawdle", "fanferro"),
    target=Target(0.5, "fanferro"),
)


def run_of(ours: float, theirs: float, *, rest: float = 999.0):
    """One run of the row, with a worse repeat beside each that counts."""
    return {
        ("signal", "dawdle"): [Result(events=10, cpu_us=ours), Result(events=10, cpu_us=rest)],
        ("signal", "fanferro"): [Result(events=10, cpu_us=rest), Result(events=10, cpu_us=theirs)],
    }


def found(*runs) -> Findings:
    return findings(find([ROW], runs), {"runs": len(runs), "repeat": 2, "repeat_rest": 2})


def test_the_best_repeat_counts_and_of_several_runs_the_worst():
    row = found(run_of(30, 100), run_of(45, 100), run_of(40, 100))["signal"]
    assert row.contestants["dawdle"].runs == [30, 45, 40]
    assert row.contestants["dawdle"].value == 45
    assert row.reached == 0.45
    assert row.is_met
    assert row.lost_to == []


def test_a_row_that_is_lost_or_missed_is_marked_as_such():
    (missed,) = tables.tables(found(run_of(60, 100)))
    (lost,) = tables.tables(found(run_of(120, 100)))
    assert missed.rows[0][-1] == "**missed**"
    assert lost.rows[0][-1] == "**missed**; **lost** to fanferro"
    assert "| ≤ 0.5 × fanferro | 1.20 × | **missed**; **lost** to fanferro |" in lost.markdown()


def test_a_ratio_that_is_worse_by_more_than_a_quarter_names_its_row():
    committed = found(run_of(40, 100))
    assert list(regressions(find([ROW], [run_of(49, 100)]), committed)) == []
    assert list(regressions(find([ROW], [run_of(98, 200)]), committed)) == []
    (worse,) = regressions(find([ROW], [run_of(51, 100)]), committed)
    assert str(worse).startswith("signal: dawdle needs 0.51 × what fanferro needs")


def test_findings_are_read_back_as_they_were_written(tmp_path):
    from tests.bench.findings import write

    before = found(run_of(40, 100))
    write(tmp_path / "results.json", before)
    assert read(tmp_path / "results.json") == before


def test_tables_and_picture_of_the_docs_are_those_of_the_committed_findings():
    committed = read(JSON)
    assert PAGE.read_text(encoding="utf-8") == tables.page(committed)
    assert PICTURE.read_text(encoding="utf-8") == plot.plot(committed)
    assert {row.row.name for row in committed.rows} == {row.name for row in (*HEART, *REST)}
