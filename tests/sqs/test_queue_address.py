"""Where a queue is: by arguments, by environment, by its URL."""

import pytest

from dawdle import ConfigurationError, Dawdle
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._queue_address import QueueAddress

AWS = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


def test_a_queue_beside_another_is_on_the_same_server():
    assert QueueAddress.checked(AWS, None, None).url_for_arn("arn:aws:sqs:eu-central-1:123456789012:orders-dead") == (
        "https://sqs.eu-central-1.amazonaws.com/123456789012/orders-dead"
    )
    with pytest.raises(ConfigurationError, match="is not the ARN of a queue"):
        QueueAddress.checked(AWS, None, None).url_for_arn("arn:aws:sns:eu-central-1:123456789012:orders")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "SQS has no queue URL"),
        ({"queue_url": "orders"}, "'orders' is not a queue URL: it must look like https"),
        ({"queue_url": "https://sqs.eu-central-1.amazonaws.com/"}, "is not a queue URL"),
        (
            {"queue_url": AWS + ".fifo", "delay_queue_url": AWS + "-delayed.fifo"},
            "orders-delayed.fifo> is a FIFO queue, which delays no single message",
        ),
        ({"queue_url": AWS, "wait": 21}, "wait is 0 to 20 seconds, or a timedelta, not 21"),
        ({"queue_url": AWS, "wait": 1.5}, "wait is a whole number of seconds, not 1.5"),
        ({"queue_url": AWS, "lease": 0}, "lease is 1 to 43,199 seconds, or a timedelta, not 0"),
        ({"queue_url": AWS, "lease": 43_200}, "not 43200"),
        ({"queue_url": AWS, "dead_letter_url": "x"}, "'x' is not a queue URL"),
        ({"queue_url": AWS.replace("//", "//me:canary@")}, "^a queue URL or endpoint_url must not contain"),
        (
            {"queue_url": AWS, "endpoint_url": "http://me:canary@localhost"},
            "^a queue URL or endpoint_url must not contain",
        ),
    ],
)
def test_what_cannot_work_is_an_error(monkeypatch, options, match):
    monkeypatch.delenv("DAWDLE_SQS_QUEUE_URL", raising=False)
    with pytest.raises(ConfigurationError, match=match) as caught:
        SQS(**options)
    assert "canary" not in str(caught.value)


def test_the_environment_says_what_the_code_does_not_and_the_code_wins(monkeypatch):
    for name in ("QUEUE_URL", "DEAD_LETTER_URL", "DELAY_QUEUE_URL"):
        monkeypatch.setenv(f"DAWDLE_SQS_{name}", f"{AWS}-{name.lower().replace('_', '-')}")
    monkeypatch.setenv("DAWDLE_SQS_REGION", "us-west-2")
    monkeypatch.setenv("DAWDLE_SQS_ENDPOINT_URL", "http://localhost:9")
    monkeypatch.setenv("DAWDLE_BACKEND", "sqs")
    found = Dawdle()._settings.queues.backends["default"]
    assert isinstance(found, SQS)
    assert found._address == QueueAddress(f"{AWS}-queue-url", "us-west-2", "http://localhost:9")
    assert found.dead_letters._address.url == f"{AWS}-dead-letter-url"
    assert found.delayed._address.url == f"{AWS}-delay-queue-url"
    assert SQS(AWS, region="eu-west-1")._address == QueueAddress(AWS, "eu-west-1", "http://localhost:9")
