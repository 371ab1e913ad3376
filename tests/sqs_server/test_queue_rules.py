"""The rules of one standard queue, without a socket and without time.

`AgainstAPlainModel` is a second model of a queue on purpose: a list that is searched from end to end has none of the
heaps, deques and lazy deletes in which the rules may be wrong.
"""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dawdle.testing.sqs import _attributes as attributes
from dawdle.testing.sqs._errors import ServiceError
from dawdle.testing.sqs._message import Instant, Message
from dawdle.testing.sqs._queue import Queue

pytestmark = pytest.mark.once


def queue_of(name="orders", **wanted):
    values = {key: str(value) for key, value in wanted.items()}
    return Queue(name, f"arn:{name}", attributes.parse_new(name, values), receipt_secret="seal", created_ms=0)


def send(queue, body, at=0.0, delay=0.0, **more):
    message = Message(serial=0, id=f"id-{body}", body=body, body_md5="", sent_ms=int(at * 1000), stored_at=at, **more)
    return queue.store(message, delay, at)


def take(queue, limit=10, visibility=30.0, at=0.0):
    queue.advance(at)
    return queue.receive(limit, visibility, Instant(at, int(at * 1000))).messages


def bodies(messages):
    return [message.body for message in messages]


class AgainstAPlainModel(RuleBasedStateMachine):
    """The queue, step by step, beside a list that is searched from end to end."""

    def __init__(self):
        super().__init__()
        self.at = 0.0
        self.queue = queue_of()
        self.visible_at = {}
        self.receives = {}
        self.handles = []

    @rule(delay=st.integers(0, 20))
    def send(self, delay):
        body = str(len(self.receives))
        send(self.queue, body, self.at, delay)
        self.visible_at[body] = self.at + delay
        self.receives[body] = 0

    @rule(limit=st.integers(1, 10), visibility=st.integers(0, 20))
    def take(self, limit, visibility):
        visible = {body for body, at in self.visible_at.items() if at <= self.at}
        taken = take(self.queue, limit, visibility, self.at)
        assert len(taken) == min(limit, len(visible))
        assert set(bodies(taken)) <= visible
        for message in taken:
            self.visible_at[message.body] = self.at + visibility
            self.receives[message.body] += 1
            assert message.receive_count == self.receives[message.body]
            self.handles.append((message.body, self.receives[message.body], self.queue.receipt_handle(message)))

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def delete(self, data):
        body, receives, handle = data.draw(st.sampled_from(self.handles))
        self.queue.advance(self.at)
        latest = body in self.visible_at and self.receives[body] == receives
        assert self.queue.delete(handle) is latest
        if latest:
            del self.visible_at[body]

    @precondition(lambda self: self.handles)
    @rule(data=st.data(), timeout=st.integers(0, 40))
    def change(self, data, timeout):
        body, receives, handle = data.draw(st.sampled_from(self.handles))
        self.queue.advance(self.at)
        held = self.visible_at.get(body, 0) > self.at
        if held and receives == self.receives[body]:
            self.queue.change_visibility(handle, timeout, self.at)
            self.visible_at[body] = self.at + timeout
        else:
            with pytest.raises(ServiceError) as caught:
                self.queue.change_visibility(handle, timeout, self.at)
            assert caught.value.code == ("ReceiptHandleIsInvalid" if held else "MessageNotInflight")

    @rule(seconds=st.integers(0, 15))
    def pass_time(self, seconds):
        self.at += seconds

    @invariant()
    def the_counts_are_those_of_the_list(self):
        self.queue.advance(self.at)
        visible = sum(at <= self.at for at in self.visible_at.values())
        assert self.queue.visible == visible
        assert self.queue.in_flight + self.queue.delayed == len(self.visible_at) - visible
        assert self.queue.message_count == len(self.visible_at)


AgainstAPlainModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstAPlainModel = pytest.mark.slow(AgainstAPlainModel.TestCase)


def test_messages_leave_in_the_order_in_which_they_came():
    queue = queue_of()
    for number in range(25):
        send(queue, str(number))
    assert bodies(take(queue)) == [str(number) for number in range(10)]


def test_a_returned_message_is_received_before_a_backlog():
    queue = queue_of()
    for number in range(100):
        send(queue, str(number))
    first = take(queue, 1)[0]
    queue.change_visibility(queue.receipt_handle(first), 0, 1.0)
    assert bodies(take(queue, 1, at=1.0)) == ["0"]


def test_an_expired_handle_deletes_until_another_receive_has_the_message():
    queue = queue_of()
    send(queue, "a")
    handle = queue.receipt_handle(take(queue)[0])
    queue.advance(31.0)
    assert queue.visible == 1
    assert queue.delete(handle)
    assert take(queue, at=32.0) == []


def test_deleting_by_an_old_handle_succeeds_and_deletes_nothing():
    queue = queue_of()
    send(queue, "a")
    old = queue.receipt_handle(take(queue)[0])
    new = queue.receipt_handle(take(queue, at=30.0)[0])
    assert queue.delete(old) is False
    assert queue.message_count == 1
    assert queue.delete(new) is True


def test_a_handle_of_another_queue_is_refused():
    other = Queue("o", "arn:o", attributes.parse_new("o", {}), receipt_secret="other", created_ms=0)
    send(other, "a")
    handle = other.receipt_handle(take(other)[0])
    for wrong in (handle, "", "no handle", "c2VhbDox", "c2VhbDoxOng="):
        with pytest.raises(ServiceError) as caught:
            queue_of().delete(wrong)
        assert caught.value.code == "ReceiptHandleIsInvalid"


def test_a_message_is_in_flight_for_twelve_hours_at_most():
    queue = queue_of()
    send(queue, "a")
    handle = queue.receipt_handle(take(queue, visibility=100)[0])
    queue.change_visibility(handle, 43_200 - 50, 50.0)
    with pytest.raises(ServiceError, match="beyond the limit"):
        queue.change_visibility(handle, 43_200 - 50, 51.0)


def test_retention_counts_from_the_send_and_ends_messages_in_every_state():
    queue = queue_of(MessageRetentionPeriod=60)
    send(queue, "held", 0.0)
    take(queue, visibility=1000.0)
    send(queue, "waiting", 1.0)
    send(queue, "delayed", 2.0, delay=900.0)
    queue.advance(59.9)
    assert queue.message_count == 3
    queue.advance(60.0)
    assert (queue.in_flight, queue.visible, queue.delayed) == (0, 1, 1)
    queue.advance(62.0)
    assert queue.message_count == 0
    assert take(queue, at=2000.0) == []


def test_an_older_message_that_came_later_is_retained_by_its_own_age():
    queue = queue_of(MessageRetentionPeriod=60)
    send(queue, "young", 50.0)
    queue.store(Message(serial=0, id="x", body="old", body_md5="", sent_ms=0, stored_at=10.0), 0, 51.0)
    queue.advance(70.0)
    assert bodies(take(queue, at=70.0)) == ["young"]


def test_a_message_is_dead_lettered_at_the_receive_after_the_last_allowed():
    queue = queue_of(RedrivePolicy='{"deadLetterTargetArn":"arn:dead","maxReceiveCount":2}')
    send(queue, "a")
    for at in (0.0, 30.0):
        assert bodies(take(queue, at=at)) == ["a"]
    queue.advance(60.0)
    taken = queue.receive(10, 30.0, Instant(60.0, 0), redrive=True)
    assert taken.messages == []
    assert bodies(taken.dead_letters) == ["a"]
    assert queue.message_count == 0


def test_without_a_dead_letter_queue_it_is_received_for_ever():
    queue = queue_of(RedrivePolicy='{"deadLetterTargetArn":"arn:dead","maxReceiveCount":1}')
    send(queue, "a")
    assert [bodies(take(queue, at=30.0 * n)) for n in range(5)] == [["a"]] * 5


def test_renewing_a_message_for_ever_does_not_grow_the_heap():
    queue = queue_of()
    send(queue, "a")
    handle = queue.receipt_handle(take(queue)[0])
    for _ in range(10_000):
        queue.change_visibility(handle, 30, 1.0)
    assert len(queue._timers) < 200


def test_one_message_that_stays_does_not_keep_the_memory_of_those_that_went():
    queue = queue_of()
    send(queue, "stays")
    take(queue, visibility=40_000.0)
    for number in range(10_000):
        send(queue, str(number))
        queue.delete(queue.receipt_handle(take(queue)[0]))
    assert len(queue._by_age) < 200


def test_late_arrivals_that_come_and_go_do_not_grow_the_heap():
    queue = queue_of()
    send(queue, "stays", 100.0)
    for number in range(10_000):
        queue.store(
            Message(serial=0, id="", body=str(number), body_md5="", sent_ms=0, stored_at=1.0), 0, 101.0, returned=True
        )
        queue.delete(queue.receipt_handle(take(queue, 1, at=101.0)[0]))
    assert bodies(take(queue, at=102.0)) == ["stays"]
    assert len(queue._late_arrivals) < 200


def test_a_purge_deletes_messages_in_flight_and_delayed_too():
    queue = queue_of()
    send(queue, "held")
    handle = queue.receipt_handle(take(queue)[0])
    send(queue, "delayed", delay=10.0)
    send(queue, "waiting")
    queue.purge()
    queue.advance(100.0)
    assert (queue.message_count, queue.visible, queue.in_flight, queue.delayed) == (0, 0, 0, 0)
    assert queue.delete(handle) is False
    assert take(queue, at=100.0) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DelaySeconds", "901"),
        ("DelaySeconds", "-1"),
        ("VisibilityTimeout", "43201"),
        ("MaximumMessageSize", "1048577"),
        ("MessageRetentionPeriod", "59"),
        ("ReceiveMessageWaitTimeSeconds", "21"),
        ("ReceiveMessageWaitTimeSeconds", "x"),
        ("Policy", "no json"),
        ("RedriveAllowPolicy", '{"redrivePermission":"some"}'),
        ("SqsManagedSseEnabled", "yes"),
    ],
)
def test_an_attribute_out_of_range_is_refused(name, value):
    with pytest.raises(ServiceError) as caught:
        attributes.parse_new("orders", {name: value})
    assert caught.value.code == "InvalidAttributeValue"


@pytest.mark.parametrize("policy", ["no json", "{}", '{"deadLetterTargetArn":"arn","maxReceiveCount":"many"}'])
def test_a_redrive_policy_that_says_too_little_is_refused(policy):
    with pytest.raises(ServiceError) as caught:
        attributes.parse_new("orders", {"RedrivePolicy": policy})
    assert caught.value.code == "InvalidParameterValue"


def test_an_unknown_attribute_is_refused():
    for name in ("Colour", "QueueArn", "ContentBasedDeduplication"):
        with pytest.raises(ServiceError) as caught:
            attributes.parse_new("orders", {name: "true"})
        assert caught.value.code == "InvalidAttributeName"
