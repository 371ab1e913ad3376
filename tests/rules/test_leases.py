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
    """A keeper that looks whenever something is due; `model` holds (received, renewed) of what is in hand."""

    def __init__(self):
        super().__init__()
        self.leases = Leases(LEASE, MAX_HOLD)
        self.now = 1000.0
        self.model = {}
        self.numbers = iter(range(10**6))

    @rule()
    def receive(self):
        key = f"m{next(self.numbers)}"
        self.leases.hold(key, self.now)
        self.model[key] = (self.now, self.now)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def settle(self, data):
        key = data.draw(st.sampled_from(sorted(self.model)))
        del self.model[key]
        self.leases.drop(key)

    @rule()
    def settle_what_nobody_holds(self):
        self.leases.drop("unheard of")

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds):
        until = self.now + seconds
        while (due := self.leases.next_due()) is not None and due <= until:
            self.now = max(self.now, due)
            self.look()
        self.now = until

    @rule(seconds=st.floats(0, 25))
    def the_keeper_is_held_up(self, seconds):
        self.now += seconds
        self.look()

    def look(self):
        renewed = self.leases.due(self.now)
        assert len(renewed) == len(set(renewed))
        for key in renewed:
            received, last = self.model[key]
            assert self.now - last >= LEASE / 3 - FINE, "renewed before its turn"
            assert self.now - received < MAX_HOLD, "renewed beyond the longest hold"
            self.model[key] = (received, self.now)
        for key, (received, last) in list(self.model.items()):
            overdue = self.now - last - LEASE / 3
            if overdue > FINE:
                assert self.now - received >= MAX_HOLD - FINE, f"{key} was due and was not renewed"
            if overdue > -FINE and self.now - received >= MAX_HOLD - FINE:
                del self.model[key]

    @invariant()
    def holds_what_is_in_hand_and_nothing_else(self):
        assert len(self.leases) == len(self.model)

    @invariant()
    def knows_when_to_look_again(self):
        due = self.leases.next_due()
        assert (due is None) == (len(self.leases) == 0)
        if due is not None:
            assert due == pytest.approx(min(last for _, last in self.model.values()) + LEASE / 3)


TestKeeping = Keeping.TestCase
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


def test_what_is_held_too_long_is_not_renewed_and_not_kept():
    leases = Leases(lease=30, max_hold=25)
    leases.hold("m", 0)
    assert leases.due(10) == ["m"]
    assert leases.due(20) == ["m"]
    assert leases.due(30) == []
    assert len(leases) == 0
    assert leases.next_due() is None


@pytest.mark.xfail(raises=AssertionError, reason="a key that is held again keeps its old place in the order")
def test_a_message_held_again_does_not_hide_the_ones_behind_it():
    leases = Leases(lease=30, max_hold=inf)
    leases.hold("again", 0)
    leases.hold("other", 1)
    leases.hold("again", 9)
    assert leases.due(12) == ["other"]
