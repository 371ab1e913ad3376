"""The ledger remembers the latest decisions, and no more of them than a process has room for."""

import pytest

from dawdle._flow.hand import Hand
from dawdle._flow.ledger import MOST_BYTES, MOST_DONE, MOST_OWED, Ledger
from dawdle._rules.settlement import Ack, Copy, Forward
from dawdle.abc import Delivery

pytestmark = pytest.mark.anyio

QUEUE = object()


def hand_of(number, clock):
    return Hand(QUEUE, Delivery(receipt="r", key=f"k{number}", body=b""), clock)


async def test_what_is_done_is_remembered_until_ten_thousand_more_are(clock):
    ledger, hands = Ledger(clock), [hand_of(number, clock) for number in range(MOST_DONE + 1)]
    for hand in hands:
        ledger.done(hand)
    assert ledger.recall(hands[0]) is None
    assert [ledger.recall(hand) for hand in hands[1:]] == [(None, Ack())] * MOST_DONE


@pytest.mark.parametrize(("size", "kept"), [(10, MOST_OWED), (2**20, MOST_BYTES // 2**20), (MOST_BYTES + 1, 1)])
async def test_copies_that_are_owed_are_remembered_as_far_as_there_is_room(clock, size, kept):
    ledger, hands = Ledger(clock), [hand_of(number, clock) for number in range(MOST_OWED + 10)]
    copies = (Copy(body=bytes(size), delay=0.0, why="retry"),)
    for hand in hands:
        ledger.owed(hand, None, copies, 5.0)
        ledger.owed(hand, None, copies, 6.0)
    known = [ledger.recall(hand) for hand in hands]
    assert known == [None] * (len(hands) - kept) + [(None, Forward(copies, 6.0))] * kept
    for hand in hands:
        ledger.done(hand)
    ledger.owed(hands[0], None, copies, 5.0)
    assert ledger._bytes == size
