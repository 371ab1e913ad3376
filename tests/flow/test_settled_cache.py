"""The cache holds the latest settlements, and no more of them than a process has room for."""

import pytest

from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.settled_cache import MAX_OWED, MAX_OWED_BYTES, MAX_SETTLED, SettledCache
from dawdle._rules.copies import Copy
from dawdle._rules.settlement import Ack, Forward
from dawdle.abc import Delivery

pytestmark = pytest.mark.anyio

QUEUE = object()


def message_of(number, clock):
    return InFlightMessage(QUEUE, Delivery(receipt="r", key=f"k{number}", body=b""), clock)


async def test_what_is_done_is_remembered_until_ten_thousand_more_are(clock):
    settled_cache, messages = SettledCache(clock), [message_of(number, clock) for number in range(MAX_SETTLED + 1)]
    for message in messages:
        settled_cache.note_settled(message)
    assert settled_cache.recall(messages[0]) is None
    assert [settled_cache.recall(message) for message in messages[1:]] == [(None, Ack())] * MAX_SETTLED


@pytest.mark.parametrize(("size", "kept"), [(10, MAX_OWED), (2**20, MAX_OWED_BYTES // 2**20), (MAX_OWED_BYTES + 1, 1)])
async def test_copies_that_are_owed_are_remembered_as_far_as_there_is_room(clock, size, kept):
    settled_cache, messages = SettledCache(clock), [message_of(number, clock) for number in range(MAX_OWED + 10)]
    copies = (Copy(body=bytes(size), delay=0.0, why="retry"),)
    for message in messages:
        settled_cache.note_owed(message, None, copies, 5.0)
        settled_cache.note_owed(message, None, copies, 6.0)
    known = [settled_cache.recall(message) for message in messages]
    assert known == [None] * (len(messages) - kept) + [(None, Forward(copies, 6.0))] * kept
    for message in messages:
        settled_cache.note_settled(message)
    settled_cache.note_owed(messages[0], None, copies, 5.0)
    assert settled_cache._bytes == size
