"""The benchmark in miniature, so that it does not rot: each measurement runs, and what it finds is told rightly."""

import sys
from math import ceil

import msgspec
import pytest

from tests.bench import plot, tables
from tests.bench.__main__ import JSON, PAGE, PICTURE
from tests.bench.contestants import MODULES, kind_of
from tests.bench.findings import Findings, find, findings, read
from tests.bench.quick import regressions
from tests.bench.rows import HEART, REST
from tests.bench.rows_data import LEAST, Row, Target
from tests.bench.work import Job, Result, Work

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform == "win32", reason="the benchmark reads CPU by getrusage, which Windows lacks"),
]

TINY = Work(seconds=0.02, in_flight=20, concurrency=40, signalers=20)
WATCHED = [name for (name, _), module in MODULES.items() if module.startswith("dawdle_telemetry:")]
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
    ("dawdle", "pass_through", "sqlite"),
    ("dawdle", "two_roles", "sqlite"),
    *(
        (name, "closed", "memory" if kind == "memory" else "stub")
        for name, kind in MODULES
        if kind in {"memory", "sqs"} and name != "dawdle" and name not in WATCHED[1:]
    ),
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
        assert bool(result.requests) == (where in {"stub", "server"})
    if measure == "latency":
        assert list(result.latency) == ["1%", "50%", "90%"]
        assert all(0 < p50 <= p99 for p50, p99 in result.latency.values())


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["stored_to_received", "share", "woken", "idle"])
def test_a_measurement_of_two_processes_ends_with_its_figures(measure):
    from tests.bench.processes import measure as run

    result = run(Job(contestant="dawdle", measure=measure, where="sqlite", work=TINY))
    assert result.events > 0
    assert result.figures


@pytest.mark.slow
@pytest.mark.parametrize("queue", [name for name, kind in MODULES if kind == "file"])
def test_a_queue_in_a_file_syncs_as_the_tables_say(queue):
    from tests.bench.contestants import contestant
    from tests.bench.processes import measure as run

    try:
        contestant(queue, "file")
    except ImportError as error:
        pytest.skip(str(error))
    work = Work(seconds=0.1, signalers=8, backlog=20)
    result = run(Job(contestant=queue, measure="put_get_ack", where="file", work=work))
    assert result.cpu_us > 0
    if result.syncs is None:
        pytest.skip("syncs are not counted here: there is no C compiler")
    if "not synced" in queue:
        assert result.syncs < 0.5  # of the checkpoints alone
    else:
        # Where tasks share transactions, one sync is for several messages; of single calls, each that stores has one.
        assert result.syncs >= (1 / 16 if queue == "dawdle" else 2)


def test_a_target_is_a_ratio_a_difference_the_least_or_at_least():
    def reached(target, *, more=False, **values):
        row = Row(
            name="row",
            title="",
            measure="",
            where="file",
            contestants=("dawdle", "a", "b"),
            beside=("b",),
            target=target,
            is_more_better=more,
        )
        run = {("row", name): [Result(events=1, cpu_us=value)] for name, value in values.items()}
        (found,) = find([row], [run])
        return found.reached, found.is_met, found.lost_to

    assert reached(Target(15, "a", is_over=True), dawdle=50, a=37, b=1) == (13, True, ["a"])
    assert reached(Target(1, LEAST), dawdle=50, a=40, b=1) == (1.25, False, ["a"])
    assert reached(Target(1, LEAST), dawdle=30, a=40, b=1) == (0.75, True, [])
    assert reached(Target(60), more=True, dawdle=50)[:2] == (50, False)
    assert reached(Target(40), more=True, dawdle=50)[:2] == (50, True)


def package_of(contestant, where):
    """Return a module that is there when the contestant can be measured."""
    kind = kind_of(where)
    return {
        ("taskiq", "sqs"): "taskiq_aio_sqs",
        ("aiobotocore", "sqs"): "aiobotocore",
        ("bare task", "memory"): "asyncio",
    }.get((contestant, kind), "opentelemetry.sdk" if contestant in WATCHED else contestant)


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
        assert row.measure == "import" or all((name, kind_of(row.where)) in MODULES for name in row.contestants)
        if row.target is not None and row.target.peer not in {"", LEAST}:
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


def test_of_several_peers_the_middle_one_tells_whether_dawdle_got_worse():
    row = msgspec.structs.replace(ROW, contestants=("dawdle", "fanferro", "taskiq", "aiobotocore"))

    def run(ours, *theirs):
        values = zip(row.contestants, (ours, *theirs), strict=True)
        return {("signal", name): [Result(events=10, cpu_us=value)] for name, value in values}

    committed = findings(find([row], [run(40, 100, 100, 100)]), {})
    assert list(regressions(find([row], [run(40, 50, 100, 100)]), committed)) == []  # one peer got quicker
    assert list(regressions(find([row], [run(51, 100, 200, 100)]), committed)) != []  # and one slower
    assert list(regressions(find([row], [run(51, 100, 100, 100)]), committed)) != []


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
