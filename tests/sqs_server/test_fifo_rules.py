"""The rules of a FIFO queue: order, locks, deduplication."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawdle.testing.sqs import _attributes as attributes
from dawdle.testing.sqs._fifo import DeduplicationCache
from dawdle.testing.sqs._message import Instant, Message
from dawdle.testing.sqs._queue import Queue

pytestmark = pytest.mark.once


def fifo_queue():
    return Queue(
        "q.fifo", "arn:q.fifo", attributes.parse_new("q.fifo", {"FifoQueue": "true"}), receipt_secret="s", created_ms=0
    )


def send(queue, group, number, delay=0.0, at=0.0):
    message = Message(serial=0, id="", body=f"{group}{number}", body_md5="", sent_ms=0, stored_at=at, group_id=group)
    return queue.store(message, delay, at)


def take(queue, limit=10, visibility=30.0, at=0.0):
    queue.advance(at)
    return queue.receive(limit, visibility, Instant(at, 0)).messages


def bodies(messages):
    return [message.body for message in messages]


def test_one_receive_takes_a_groups_messages_in_order_before_the_next_groups():
    queue = fifo_queue()
    for number in range(3):
        send(queue, "a", number)
        send(queue, "b", number)
    assert bodies(take(queue, 5)) == ["a0", "a1", "a2", "b0", "b1"]


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight():
    queue = fifo_queue()
    for number in range(3):
        send(queue, "a", number)
    first = take(queue, 1)[0]
    assert take(queue) == []
    send(queue, "b", 0)
    assert bodies(take(queue)) == ["b0"]
    queue.delete(queue.receipt_handle(first))
    assert bodies(take(queue)) == ["a1", "a2"]


def test_a_returned_message_takes_its_old_place():
    queue = fifo_queue()
    for number in range(4):
        send(queue, "a", number)
    zero, one = take(queue, 2)
    queue.change_visibility(queue.receipt_handle(one), 0, 1.0)
    queue.change_visibility(queue.receipt_handle(zero), 0, 2.0)
    assert bodies(take(queue, at=3.0)) == ["a0", "a1", "a2", "a3"]


def test_a_group_stays_locked_until_the_last_of_its_messages_is_back():
    queue = fifo_queue()
    for number in range(3):
        send(queue, "a", number)
    zero, one = take(queue, 2)
    queue.change_visibility(queue.receipt_handle(zero), 0, 1.0)
    assert take(queue, at=2.0) == []
    queue.delete(queue.receipt_handle(one))
    assert bodies(take(queue, at=3.0)) == ["a0", "a2"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4), st.booleans()), min_size=1, max_size=60))
def test_every_group_is_finished_in_the_order_in_which_it_was_sent(steps):
    queue = fifo_queue()
    sent = {"a": 0, "b": 0, "c": 0}
    done = {"a": [], "b": [], "c": []}
    at = 0.0
    for group, limit, finishes in steps:
        send(queue, group, sent[group])
        sent[group] += 1
        at += 1.0
        for message in take(queue, limit, at=at):
            if finishes:
                done[message.group_id].append(int(message.body[1:]))
                queue.delete(queue.receipt_handle(message))
            else:
                queue.change_visibility(queue.receipt_handle(message), 0, at)
    for _ in range(len(steps)):
        for message in take(queue, at=at):
            done[message.group_id].append(int(message.body[1:]))
            queue.delete(queue.receipt_handle(message))
    assert done == {group: list(range(count)) for group, count in sent.items()}
    assert queue.message_count == 0
    assert not queue.fifo.backlog._groups


def test_a_value_is_forgotten_five_minutes_after_it_was_last_put():
    cache = DeduplicationCache()
    cache.put("x", 1, 0.0)
    cache.put("x", 2, 100.0)
    assert cache.get("x", 399.9) == 2
    assert cache.get("x", 400.0) is None
    assert not cache._values
    assert not cache._expiries
