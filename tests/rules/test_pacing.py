"""A limit keeps its slot busy, and its app's slots free: properties, examples, and fleets on a simulated queue."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.pacing import (
    MAX_LINE_SECONDS,
    MAX_RETURN_SECONDS,
    MIN_RETURN_SECONDS,
    ComesBack,
    ConcurrencyLimit,
    Line,
    RunTime,
    Starts,
    Waits,
    most_waiting,
)
from tests.rules.fleet import Fleet

chances = st.floats(0, 1, exclude_max=True)
steps = st.floats(1e-6, 1e6)
counted = st.none() | st.floats(0, 2147)


# The line


@given(st.floats(-1e6, 1e9), st.floats(0, 1e9), steps, st.integers(0, 1000), st.floats(0, 100), counted, chances)
def test_an_event_comes_back_in_the_second_half_of_the_line_and_never_later_than_sqs_allows(
    end, now, step, waiting, room, counted, random
):
    line = Line()
    line.end = end
    place = line.place(now, step=step, starts=False, waiting=waiting, room=room, counted=counted, random=random)
    if isinstance(place, Waits):
        assert waiting < room
        assert counted is not None or end - now <= MAX_LINE_SECONDS
        return
    left = min(line.end - now, MAX_RETURN_SECONDS)
    assert line.end >= now + waiting * step - 1e-6, "those who wait are in the line"
    assert MIN_RETURN_SECONDS <= place.seconds <= MAX_RETURN_SECONDS
    assert max(MIN_RETURN_SECONDS, left / 2) <= place.seconds + 1e-6
    assert place.seconds <= max(MIN_RETURN_SECONDS, left) + 1e-6
    assert place.step == step


@given(st.lists(st.tuples(st.floats(0, 5), steps, chances)))
def test_each_new_event_lengthens_the_line_by_its_step_and_time_alone_shortens_it(events):
    line, now, end = Line(), 0.0, 0.0
    for pause, step, random in events:
        now += pause
        line.place(now, step=step, starts=False, waiting=0, room=0, counted=None, random=random)
        end = max(end, now) + step
        assert line.end == pytest.approx(end)


@given(steps, steps, st.floats(0, 1e5))
def test_a_copy_that_comes_back_for_nothing_puts_the_line_right_by_what_is_known_by_then(first, step, left):
    line = Line()
    line.end = left
    line.place(0.0, step=step, starts=False, waiting=0, room=0, counted=first, random=0.5)
    assert line.end == pytest.approx(max(0.0, left + 1.1 * step - first), abs=1e-6)


@given(steps, counted.filter(lambda each: each is not None), st.booleans())
def test_a_copy_that_finds_room_leaves_the_line_as_it_is(step, counted, starts):
    line = Line()
    line.end = 500.0
    place = line.place(0.0, step=step, starts=starts, waiting=2, room=3, counted=counted, random=0.5)
    assert place == (Starts() if starts else Waits())
    assert line.end == 500.0


def test_a_new_event_does_not_take_the_room_of_those_who_were_sent_away_before_it():
    line = Line()
    line.end = MAX_LINE_SECONDS + 1
    ask = {"step": 1.0, "starts": False, "waiting": 0, "room": 10, "random": 0.0}
    assert isinstance(line.place(0.0, counted=None, **ask), ComesBack)
    assert line.place(0.0, counted=1.0, **ask) == Waits()


# How long a run takes


@given(st.lists(st.floats(0, 1e5), min_size=1), st.floats(0, 1e5))
def test_the_mean_is_never_taken_for_more_than_the_longest_run(runs, under_way):
    time = RunTime()
    for seconds in runs:
        time.learn(seconds)
    assert 0 < time.estimate(under_way) <= max(0.1, *runs, under_way) + 1e-9


def test_it_begins_low_and_follows():
    time = RunTime()
    assert time.estimate(0.0) < 0.1
    assert time.estimate(20.0) == pytest.approx(1.8), "a run that does not end says that runs are long"
    for _ in range(10):
        time.learn(1.0)
    assert time.estimate(0.0) == pytest.approx(0.45)
    for _ in range(1000):
        time.learn(1.0)
    assert time.estimate(0.0) == pytest.approx(0.9, abs=0.01)
    for _ in range(100):
        time.learn(10.0)
    assert time.estimate(0.0) == pytest.approx(9, abs=0.2)


# Who may wait


@given(steps, st.integers(1, 1000), st.integers(1, 1000))
def test_no_more_wait_than_a_quarter_of_the_slots_and_two_for_each_run_where_there_is_room(step, limit, slots):
    most = most_waiting(step, limit, slots)
    assert most <= max(1, slots // 4)
    assert most >= min(2 * limit, max(1, slots // 4))


actions = st.lists(
    st.tuples(st.sampled_from(["new", "back", "end", "leave"]), st.floats(0, 30), chances), min_size=1, max_size=200
)


@given(actions, st.integers(1, 5), st.integers(1, 40), st.integers(0, 12))
def test_no_slot_is_idle_while_an_event_waits_and_no_more_run_or_wait_than_may(actions, limit, slots, spare):
    pace, now = ConcurrencyLimit(limit, slots), 0.0
    runs: list[float] = []
    for what, seconds, random in actions:
        now += seconds
        if what == "end" and runs:
            pace.finish(runs.pop(0), now)
            while pace.next(now):
                runs.append(now)
        elif what == "leave" and pace.waiting:
            pace.withdraw()
        elif what in ("new", "back"):
            had = pace.waiting
            place = pace.arrive(now, counted=None if what == "new" else 0.1, spare=spare - had, random=random)
            if isinstance(place, Starts):
                runs.append(now)
            assert pace.waiting == had + isinstance(place, Waits)
        assert pace.running == len(runs) <= limit
        assert pace.waiting <= min(spare, max(1, slots // 4))
        assert not pace.waiting or pace.running == limit


# Fleets. A share of 1 is what servers reach that are asked first come, first served


def runs(kind, mean, count, seed=1):
    if kind == "constant":
        return [mean] * count
    random = Random(seed)
    return [random.expovariate(1 / mean) for _ in range(count)]


@pytest.mark.parametrize("kind", ["constant", "exponential"])
@pytest.mark.parametrize(
    ("mean", "limit", "nodes"), [(0.2, 1, 1), (0.2, 1, 4), (0.2, 10, 1), (1.0, 1, 4), (1.0, 10, 1)]
)
def test_a_limit_is_kept_busy_by_few_copies_and_leaves_the_app_to_others(kind, mean, limit, nodes):
    came = Fleet(1, runs(kind, mean, 500), nodes=nodes, limit=limit).run()
    assert came.share >= 0.9
    assert came.beyond <= 4
    assert came.median <= 0.05
    assert came.most_waiting <= 25


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("kind", ["constant", "exponential"])
@pytest.mark.parametrize("mean", [0.2, 1.0])
@pytest.mark.parametrize(("limit", "nodes"), [(1, 1), (1, 4), (10, 1), (10, 4)])
def test_a_large_backlog_needs_no_more_copies_than_a_small_one_but_for_its_hops(seed, kind, mean, limit, nodes):
    came = Fleet(seed, runs(kind, mean, 10_000, seed), nodes=nodes, limit=limit).run()
    assert came.share >= 0.9
    assert came.beyond <= 4
    assert came.median <= 0.05


@pytest.mark.parametrize("nodes", [1, 4, 16])
def test_twenty_events_end_within_eight_seconds_of_the_ideal(nodes):
    came = Fleet(2, [1.0] * 20, nodes=nodes).run()
    assert came.took - came.ideal <= 8.1


def test_a_backlog_of_seconds_ends_a_second_or_two_late_since_delays_are_whole_seconds():
    came = Fleet(1, [0.2] * 500, nodes=4, limit=10).run()
    assert came.ideal < 3
    assert came.took - came.ideal < 2


@pytest.mark.parametrize("slots", [4, 10, 40])
def test_few_slots_are_enough(slots):
    came = Fleet(1, [0.2] * 500, slots=slots).run()
    assert came.share >= 0.9
    assert came.beyond <= 4
    assert came.most_waiting <= max(1, slots // 4)


def test_nodes_that_are_killed_and_join_share_the_line():
    fleet = Fleet(1, [1.0] * 1000, nodes=4)
    events = [(30.0 * at, event) for at in range(1, 6) for event in (fleet.kill, fleet.join)]
    came = fleet.run(1.0, *events)
    assert len(came.started) == 1000
    # Each kill leaves a slot idle until copies come to its successor, and makes the events run again that it had.
    assert came.share >= 0.65


def test_a_mean_that_rises_to_its_tenfold_costs_copies_and_no_time():
    came = Fleet(1, [0.2] * 100 + [2.0] * 400, nodes=2).run()
    assert came.share >= 0.9
    assert came.beyond <= 5
