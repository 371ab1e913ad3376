"""One queue has one identity, however it is reached, and letters name it by that."""

import pytest

from dawdle.abc import Identified
from dawdle.backends.memory import Memory
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._conversion import parse_deliveries
from dawdle.backends.sqs._queue_ids import has_account_id, identity_from_arn


@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-central-1.amazonaws.com/123456789012/orders",
        "https://sqs-fips.us-east-1.amazonaws.com/123456789012/orders",
        "https://queue.amazonaws.com/123456789012/orders",
        "https://eu-central-1.queue.amazonaws.com/123456789012/orders/",
        "https://vpce-1-a.sqs.eu-central-1.vpce.amazonaws.com/123456789012/orders",
        "http://127.0.0.1:4566/queue/eu-central-1/123456789012/orders",
    ],
)
def test_it_is_the_same_at_every_address(url):
    queue = SQS(url, region="eu-central-1")
    assert isinstance(queue, Identified)
    assert queue.identity == "123456789012/orders"


def test_an_arn_and_a_url_say_the_same():
    assert identity_from_arn("arn:aws:sqs:eu-central-1:123456789012:orders") == "123456789012/orders"
    assert identity_from_arn("arn:aws-us-gov:sqs:us-gov-west-1:123456789012:o.r_d-e") == "123456789012/o.r_d-e"
    assert identity_from_arn("arn:aws:sns:eu-central-1:123456789012:orders") is None
    assert identity_from_arn("garbage") is None


def test_the_origin_of_what_sqs_moved_is_read_and_an_odd_one_is_none():
    source = {"DeadLetterQueueSourceArn": "arn:aws:sqs:eu-central-1:123456789012:orders"}
    odd = {"DeadLetterQueueSourceArn": "garbage"}
    frame = {"ReceiptHandle": "r", "MessageId": "m", "Body": "b"}
    answer = {"Messages": [{**frame, "Attributes": each} for each in (source, odd, {})]}
    assert [delivery.origin for delivery in parse_deliveries(answer)] == ["123456789012/orders", None, None]


def test_where_a_url_names_no_account_no_arn_is_compared_with_it():
    assert has_account_id("123456789012/orders")
    assert not has_account_id("queue/orders")
    assert not has_account_id("orders")


def test_a_queue_in_memory_has_none():
    assert not isinstance(Memory(), Identified)
