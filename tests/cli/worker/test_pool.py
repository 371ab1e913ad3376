"""Which processes are started and stopped: told examples, and everything that may happen in any order."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawdle.cli.worker._pool import (
    BACKOFF_SECONDS,
    KILL_SECONDS,
    LONG_START_SECONDS,
    STEADY_SECONDS,
    Died,
    GaveUp,
    Kill,
    NotReady,
    NotReplaced,
    Pool,
    Replaced,
    Start,
    Stop,
    WaitsForChange,
)


def pool_of(places, *, reloads=False):
    """A pool whose processes work."""
    pool = Pool(places, reloads=reloads)
    for start in pool.start(0):
        assert pool.ready(start.number, 0, grace=25) == []
    return pool


def test_a_process_is_started_in_each_place():
    assert Pool(3, reloads=False).start(0) == [Start(1, 1), Start(2, 2), Start(3, 3)]


def test_a_process_that_dies_is_started_again_later_each_time():
    pool, now, number = pool_of(1), 0.0, 1
    for expected in (*BACKOFF_SECONDS, BACKOFF_SECONDS[-1]):
        assert pool.gone(number, now) == [Died(number, 0, expected)]
        assert pool.wakes_at == now + expected
        if expected:
            assert pool.tick(now + expected / 2) == []
        now += expected
        number += 1
        assert pool.tick(now) == [Start(number, 1)]
        assert pool.start_at(1) is None


def test_after_steady_work_a_death_is_the_first_again():
    pool = pool_of(1)
    pool.gone(1, 0)
    pool.tick(0)
    pool.ready(2, 1, grace=25)
    assert pool.gone(2, 1 + STEADY_SECONDS) == [Died(2, 1 + STEADY_SECONDS, 0)]


def test_a_start_that_takes_long_is_not_steady_work():
    pool = pool_of(1)
    pool.gone(1, 0)
    pool.tick(0)
    assert pool.gone(2, 100) == [Died(2, 100, BACKOFF_SECONDS[1])]


def test_a_change_starts_all_anew_and_stops_the_old_when_the_new_work():
    pool = pool_of(2, reloads=True)
    assert pool.changed(10) == [Start(3, 1), Start(4, 2)]
    assert pool.ready(4, 10.5, grace=25) == [Replaced(4, 0.5), Stop(2)]
    assert pool.gone(2, 11) == []
    assert pool.ready(3, 11, grace=25) == [Replaced(3, 1), Stop(1)]


def test_a_change_that_does_not_load_leaves_the_old_at_work_until_the_next():
    pool = pool_of(1, reloads=True)
    pool.changed(10)
    assert pool.gone(2, 11, unloadable=True) == [NotReplaced(2)]
    assert pool.working(1) == 1
    assert pool.wakes_at is None
    assert pool.changed(20) == [Start(3, 1)]


def test_code_that_never_loads_waits_for_a_change_where_changes_are_watched():
    pool = Pool(1, reloads=True)
    pool.start(0)
    assert pool.gone(1, 1, unloadable=True) == [WaitsForChange(1)]
    assert pool.wakes_at is None
    assert not pool.ended
    assert pool.changed(2) == [Start(2, 1)]


def test_code_that_never_loads_ends_a_worker_without_reload():
    pool = Pool(2, reloads=False)
    pool.start(0)
    assert pool.gone(1, 1, unloadable=True) == [GaveUp(1), Stop(2)]
    assert not pool.ended
    assert pool.gone(2, 2) == []
    assert pool.ended
    assert pool.failed


def test_code_that_does_not_load_any_more_is_tried_again():
    pool = pool_of(1)
    pool.gone(1, 100)
    pool.tick(100)
    assert pool.gone(2, 101, unloadable=True) == [Died(2, 1, 1)]


def test_a_change_during_a_start_starts_once_more():
    pool = pool_of(1, reloads=True)
    pool.changed(1)
    assert pool.changed(2) == [Stop(2), Start(3, 1)]
    assert pool.ready(2, 2.5, grace=25) == []  # it was ready before it knew
    assert pool.ready(3, 3, grace=25) == [Replaced(3, 1), Stop(1)]


def test_all_are_replaced_one_after_another():
    pool = pool_of(2)
    assert pool.replace(1) == [Start(3, 1)]
    assert pool.ready(3, 2, grace=25) == [Replaced(3, 1), Stop(1)]
    assert pool.gone(1, 3) == [Start(4, 2)]
    assert pool.ready(4, 4, grace=25) == [Replaced(4, 1), Stop(2)]
    assert pool.gone(2, 5) == []


def test_a_replacement_that_hangs_at_its_start_is_told_once_and_all_can_be_replaced_again():
    pool = pool_of(2)
    pool.replace(1)
    assert pool.wakes_at == 1 + LONG_START_SECONDS
    assert pool.tick(1 + LONG_START_SECONDS) == [NotReady(3, LONG_START_SECONDS, replaces=True)]
    assert pool.wakes_at is None
    assert pool.replace(100, 2) == []  # it waits for its turn
    assert pool.replace(200) == [Stop(3), Start(4, 1)]
    assert pool.ready(4, 201, grace=25) == [Replaced(4, 1), Stop(1)]
    assert pool.gone(3, 202) == []
    assert pool.gone(1, 202) == [Start(5, 2)]


def test_a_first_start_that_hangs_is_told_too():
    pool = Pool(1, reloads=False)
    pool.start(0)
    assert pool.tick(LONG_START_SECONDS) == [NotReady(1, LONG_START_SECONDS, replaces=False)]


def test_all_that_were_replaced_are_replaced_again_if_that_is_asked_meanwhile():
    pool = pool_of(2)
    pool.replace(1)
    pool.ready(3, 2, grace=25)
    assert pool.replace(3) == []  # the one before still finishes what it has in flight
    assert pool.replace(4) == []
    assert pool.gone(1, 5) == [Start(4, 2)]
    pool.ready(4, 6, grace=25)
    assert pool.gone(2, 7) == [Start(5, 1)]
    assert pool.replace(8) == [Stop(5), Start(6, 1)]
    pool.ready(6, 9, grace=25)
    pool.gone(5, 10)
    assert pool.gone(3, 10) == [Start(7, 2)]
    pool.ready(7, 11, grace=25)
    assert pool.gone(4, 12) == []


def test_a_replacement_that_does_not_start_ends_the_round():
    pool = pool_of(2)
    pool.replace(1)
    assert pool.gone(3, 2) == [NotReplaced(3)]
    assert (pool.working(1), pool.working(2)) == (1, 2)
    assert pool.replace(3, 2) == [Start(4, 2)]


def test_a_process_that_dies_while_it_is_replaced_is_not_started_twice():
    pool = pool_of(1)
    pool.replace(1, 1)
    assert pool.gone(1, 2) == [Died(1, 2, None)]
    assert pool.ready(2, 3, grace=25) == []


def test_a_stop_is_asked_once_then_ends_the_grace_then_kills():
    pool = pool_of(2)
    assert pool.stop(1) == [Stop(1), Stop(2)]
    assert pool.stop(2) == [Stop(1), Stop(2)]
    assert pool.stop(3) == [Kill(1), Kill(2)]
    pool.gone(1, 4)
    assert not pool.ended
    pool.gone(2, 4)
    assert pool.ended
    assert not pool.failed


def test_a_process_that_is_replaced_is_not_asked_again_when_the_worker_stops():
    pool = pool_of(1)
    pool.replace(1)
    pool.ready(2, 2, grace=25)
    assert pool.stop(3) == [Stop(2)]


def test_what_does_not_stop_is_killed_after_its_own_grace():
    pool = Pool(1, reloads=False)
    pool.start(0)
    pool.ready(1, 0, grace=100)
    pool.stop(10)
    due = 10 + 100 + KILL_SECONDS
    assert pool.wakes_at == due
    assert pool.tick(due - 1) == []
    assert pool.tick(due) == [Kill(1)]
    assert pool.wakes_at is None


def test_a_stop_during_the_back_off_ends_it():
    pool = pool_of(1)
    pool.gone(1, 0)
    pool.stop(0)
    assert pool.ended
    assert pool.wakes_at is None


def test_a_round_goes_on_over_a_place_that_waits_for_its_back_off():
    pool = pool_of(2)
    for number in (1, 3):
        pool.gone(number, 0)
        pool.tick(0)
    assert pool.wakes_at == 1
    assert pool.replace(0.5) == [Start(4, 1)]
    assert pool.start_at(1) is None
    assert pool.ready(4, 0.7, grace=25) == [Start(5, 2)]


class World:
    """Processes that obey a pool, and the promises that hold after each step."""

    def __init__(self, places, *, reloads):
        self.pool, self.now, self.places, self.reloads = Pool(places, reloads=reloads), 0.0, places, reloads
        self.place, self.stopped, self.waiting, self.changes = {}, set(), set(), 0
        self.numbers = self.old = 0
        """The latest process, and the latest one when all were to be replaced."""
        self.fails = False
        """A start has failed since then, which ends the round."""
        self.obey(self.pool.start(self.now))

    def obey(self, actions):
        for each in actions:
            match each:
                case Start(number, place):
                    assert not self.pool.stopping
                    self.place[number], self.numbers = place, number
                    self.waiting.discard(place)
                case Stop(number):
                    again = number in self.stopped
                    self.stopped.add(number)
                    if not self.pool.stopping:
                        assert not again, "a second request would end its grace"
                case WaitsForChange(number):
                    self.waiting.add(self.gone_place)
                    self.fails = True
                case NotReplaced():
                    self.fails = True
                case GaveUp():
                    assert self.pool.failed
                case _:
                    pass
        if not self.pool.stopping:
            self.check()

    def check(self):
        alive = [number for number in self.place if number not in self.stopped]
        busy = Counter(self.place[number] for number in alive)
        for place in self.pool.places:
            assert busy[place] <= 2, "at most a process and its replacement"
            if not busy[place] and place not in self.waiting:
                assert self.pool.start_at(place) is not None, "a place is empty, and no start is planned"
        if not self.changes:
            assert len(alive) <= self.places + 1, "one after another"

    def pick(self, index, states):
        known = [number for number in sorted(self.place) if self.pool.state(number) in states]
        return known[index % len(known)] if known else None

    def step(self, what, index):
        working = {number for place in self.pool.places if (number := self.pool.working(place))}
        before = {number: self.place[number] for number in working}
        getattr(self, what)(index)
        if not self.pool.stopping:
            for number, place in before.items():
                if number in self.place:
                    assert self.pool.working(place) is not None, "what worked was stopped, and nothing works there"

    def ready(self, index):
        if number := self.pick(index, {"starting"}):
            self.obey(self.pool.ready(number, self.now, 25))

    def die(self, index):
        self.end(self.pick(index, {"starting", "working", "stopping"}), unloadable=False)

    def unloadable(self, index):
        self.end(self.pick(index, {"starting"}), unloadable=True)

    def end(self, number, *, unloadable):
        if number:
            self.gone_place = self.place.pop(number)
            self.obey(self.pool.gone(number, self.now, unloadable=unloadable))

    def changed(self, index):
        if self.reloads:
            self.changes += 1
            self.obey(self.pool.changed(self.now))

    def replace(self, index):
        if not index % 2:
            self.old, self.fails = self.numbers, False
        self.obey(self.pool.replace(self.now, *([index % self.places + 1] if index % 2 else [])))

    def tick(self, index):
        self.now = max(self.now, self.pool.wakes_at or 0)
        self.obey(self.pool.tick(self.now))

    def stop(self, index):
        self.obey(self.pool.stop(self.now))


EVENTS = ("ready", "ready", "ready", "die", "unloadable", "changed", "replace", "tick")
STEPS = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 6)), max_size=60)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.booleans(), STEPS)
def test_whatever_happens_nothing_that_works_stops_before_its_replacement_works(places, reloads, steps):
    world = World(places, reloads=reloads)
    for what, index in steps:
        world.step(what, index)
    # And the worker comes to rest with a process in each place, unless it waits for a change or gave up.
    for _ in range(60):
        world.step("tick", 0)
        world.step("die" if world.stopped & world.place.keys() else "ready", 0)
    if not world.pool.stopping:
        working = [world.pool.working(place) for place in world.pool.places if place not in world.waiting]
        assert all(working)
        assert world.fails or all(number > world.old for number in working), "one has the code of before"


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.booleans(), STEPS)
def test_a_stop_ends_it_whenever_it_comes(places, reloads, steps):
    world = World(places, reloads=reloads)
    for what, index in steps:
        world.step(what, index)
    world.step("stop", 0)
    for _ in range(100):
        world.step("die", 0)
    assert world.pool.ended
    assert world.pool.wakes_at is None


@pytest.mark.parametrize("reloads", [False, True])
def test_a_stopped_worker_starts_nothing(reloads):
    pool = pool_of(1, reloads=reloads)
    pool.stop(0)
    assert pool.changed(1) == pool.replace(1) == []
