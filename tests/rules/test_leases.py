"""A lease is renewed long before it ends, for as long as its message may be held, and not once it is dropped."""

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dawdle._rules.leases import Leases

LEASE = 30.0
MAX_HOLD = 200.0
FINE = 1e-6


class Keeping(RuleBasedStateMachine):
    """A lease renewer that looks whenever a renewal is due; `model` holds (received, due) of each message."""

    def __init__(self):
        super().__init__()
        self.leases = Leases(LEASE, MAX_HOLD)
        self.now = 1000.0
        self.model = {}
        self.numbers = iter(range(10**6))
        self.failing = False

    @rule()
    def receive(self):
        self.hold(f"m{next(self.numbers)}")

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def receive_again(self, data):
        self.hold(data.draw(st.sampled_from(sorted(self.model))))

    def hold(self, key):
        self.leases.hold(key, self.now)
        self.model[key] = (self.now, self.now + LEASE / 3)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def settle(self, data):
        key = data.draw(st.sampled_from(sorted(self.model)))
        del self.model[key]
        self.leases.drop(key)

    @rule()
    def settle_what_nobody_holds(self):
        self.leases.drop("unheard of")
        self.leases.failed("unheard of", self.now)

    @rule()
    def the_queue_fails_or_works_again(self):
        self.failing = not self.failing

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds):
        until = self.now + seconds
        for _ in range(1000):
            due = self.leases.next_due()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.look()
        else:
            raise AssertionError("what is due stays due, and the renewer would spin")
        self.now = until

    @rule(seconds=st.floats(0, 25))
    def the_keeper_is_held_up(self, seconds):
        self.now += seconds
        self.look()

    def look(self):
        renewed = self.leases.due(self.now)
        assert len(renewed) == len(set(renewed))
        for key, (received, due) in list(self.model.items()):
            if key in renewed:
                assert self.now >= due - FINE, "renewed before its turn"
                assert self.now - received < MAX_HOLD, "renewed beyond the longest hold"
                self.model[key] = (received, self.now + LEASE / 3)
                if self.failing:
                    self.leases.failed(key, self.now)
                    self.model[key] = (received, self.now + LEASE / 12)
            elif self.now >= due - FINE:
                if self.now > due + FINE:
                    assert self.now - received >= MAX_HOLD - FINE, f"{key} was due and was not renewed"
                if self.now - received >= MAX_HOLD - FINE:
                    del self.model[key]

    @invariant()
    def holds_what_is_in_hand_and_nothing_else(self):
        assert len(self.leases) == len(self.model)

    @invariant()
    def knows_when_to_look_again(self):
        due = self.leases.next_due()
        assert (due is None) == (len(self.leases) == 0)
        if due is not None:
            assert due == pytest.approx(min(due for _, due in self.model.values()))


TestKeeping = Keeping.TestCase
TestKeeping.pytestmark = [pytest.mark.slow]
TestKeeping.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@given(st.floats(0.3, 43200), st.floats(0, 1e6))
def test_two_renewals_may_fail_before_a_lease_is_lost(lease, received):
    leases = Leases(lease, inf)
    leases.hold("m", received)
    turns = []
    for _ in range(3):
        turns.append(leases.next_due())
        assert leases.due(turns[-1]) == ["m"]
    assert received < turns[0] < turns[1] < turns[2] <= received + lease * 1.001


@given(st.floats(0.3, 43200), st.floats(0, 1e6))
def test_a_renewal_that_failed_is_tried_again_several_times_before_the_lease_ends(lease, received):
    leases, now, tries = Leases(lease, inf), received, 0
    leases.hold("m", now)
    while (now := leases.next_due()) < received + lease * 0.99:
        assert leases.due(now) == ["m"]
        leases.failed("m", now)
        tries += 1
    assert 3 <= tries <= 12, "and not without a pause"


def test_what_is_held_too_long_is_not_renewed_and_not_kept():
    leases = Leases(lease=30, max_hold=25)
    leases.hold("m", 0)
    assert leases.due(10) == ["m"]
    assert leases.due(20) == ["m"]
    assert leases.due(30) == []
    assert len(leases) == 0
    assert leases.next_due() is None


def test_a_message_held_again_does_not_hide_the_ones_behind_it():
    leases = Leases(lease=30, max_hold=inf)
    leases.hold("again", 0)
    leases.hold("other", 1)
    leases.hold("again", 9)
    assert leases.due(12) == ["other"]


def test_a_message_held_for_too_long_is_returned_once_and_not_kept():
    leases = Leases(30.0, 50.0)
    leases.hold("a", 0.0)
    leases.hold("b", 25.0)
    assert leases.due(35.0) == ["a", "b"]
    assert leases.expired() == []
    assert leases.due(55.0) == ["b"]
    assert leases.expired() == ["a"]
    assert leases.expired() == []
    assert len(leases) == 1
