"""Small fleets, with little load: what a whole run counts, and that it would notice a loss."""

import random
import sys
from functools import partial

import pytest

from tests.fleet import __main__ as program
from tests.fleet import scenarios
from tests.fleet.counted import Counted
from tests.fleet.plan import QUICK_SIZES, Part, parts
from tests.fleet.prices import hops
from tests.fleet.report import read, write
from tests.fleet.run import run_parts
from tests.fleet.scenarios import Fleet, burst, delayed, deploy, idle, steady
from tests.fleet.virtual_time import run_virtual


def count(scenario, nodes, **options):
    return run_virtual(scenario(nodes, 1, lambda share: None, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "events", "most"),
    # Where a node has 200 events, the deletes of the last ones weigh more: they come one by one.
    [(1, 1_000, 0.31), (10, 2_000, 0.33)],
)
def test_a_burst_fills_its_batches_and_loses_nothing(nodes, events, most):
    counted = count(burst, nodes, events=events)
    assert counted.broken == []
    assert (counted.lost, counted.extra_runs) == (0, 0)
    assert 0.3 <= counted.per_event <= most, "no request carries more than ten"


def test_events_that_come_one_by_one_take_three_requests_each():
    counted = count(steady, 10, per_second=5, seconds=20)
    assert (counted.lost, counted.broken) == (0, [])
    assert counted.sends_and_deletes == 2 * counted.events
    assert 3.0 <= counted.per_event <= 3.3, "some polls are empty"


@pytest.mark.parametrize("nodes", QUICK_SIZES)
def test_an_idle_node_polls_for_20_seconds_and_once_in_ten_minutes_for_none(nodes):
    counted = count(idle, nodes, hours=2)
    polls = 3600 / (20 + sum(scenarios.ONE_WAY)) + 6
    assert set(counted.requests) == {"ReceiveMessage"}
    assert counted.per_hour == pytest.approx(nodes * polls, rel=0.01)
    assert all(hour == pytest.approx(nodes * polls, rel=0.01) for hour in counted.by_hour), "each hour is like the next"


@pytest.mark.parametrize("delay", [60, 900, 901, 3600])
def test_a_delay_takes_a_send_and_a_delete_for_each_hop(delay):
    counted = count(delayed, 1, delay=delay, events=1)
    assert (counted.lost, counted.broken) == (0, [])
    assert counted.sends_and_deletes == 2 * hops(delay)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", QUICK_SIZES)
def test_a_deploy_loses_nothing(nodes):
    counted = count(deploy, nodes, per_second=2, steps=min(nodes, 2))
    assert (counted.lost, counted.broken) == (0, [])
    assert counted.extra_runs <= counted.interrupted
    assert counted.requests["GetQueueAttributes"] == 2 * nodes, "each node was replaced"


def test_a_message_that_vanishes_is_counted_as_lost():
    async def story():
        async with Fleet(1, 1, lambda share: None) as fleet:
            await fleet.cluster.apps[0].stop_listener()
            fleet.signal(0)
            await fleet.clock.advance(1)
            fleet.cluster.queue.purge()
            await fleet.drain()
            return fleet.counted("a purge", 0.0)

    counted = run_virtual(story())
    assert counted.lost == 1
    assert counted.broken == ["lost: (1, 'handler')"]


def test_a_seed_gives_the_same_figures_again_and_leaves_chance_as_it_was():
    state = random.getstate()
    first, second = (count(steady, 2, per_second=20, seconds=3) for _ in range(2))
    assert first == second
    assert random.getstate() == state


def test_what_the_end_of_a_fleet_finds_is_a_broken_promise():
    async def story():
        async with Fleet(1, 1, lambda share: None) as fleet:
            counted = fleet.counted("one slot short", 0.0)
            fleet.cluster.apps[0]._runtime.queues["default"].slots.overdraw()
        return counted

    assert run_virtual(story()).broken == ["99 of 100 slots are free at the end"]


@pytest.mark.slow
def test_parts_run_in_processes_give_what_they_give_here():
    part = Part("steady", 1, partial(steady, per_second=10, seconds=1), 1)
    assert run_parts([part, part], 3) == [part.run(3), part.run(3)]


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_a_run_ends_with_1_if_an_event_is_lost(lost, status, monkeypatch, capsys):
    counted = Counted(
        scenario="idle", nodes=1, events=0, seconds=3600.0, requests={"ReceiveMessage": 180}, lost=lost, by_hour=[180]
    )
    monkeypatch.setattr(program, "run_parts", lambda parts, seed: [counted for _ in parts])
    monkeypatch.setattr(sys, "argv", ["fleet", "--quick"])
    assert program.main() == status
    assert "one hour simulated" in capsys.readouterr().out


def test_figures_are_read_as_they_were_written(tmp_path):
    counted = count(idle, 1, hours=1)
    write(tmp_path / "figures.json", 1, [counted])
    assert read(tmp_path / "figures.json").of("idle", 1) == counted


def test_a_whole_run_has_every_scenario_in_every_size():
    names = {(part.nodes, part.name) for part in parts((1, 10, 100, 1000), quick=False)}
    for nodes in (1, 10, 100, 1000):
        assert {name for size, name in names if size == nodes} >= {"burst of 100,000", "deploy", "idle", "steady 1/s"}
