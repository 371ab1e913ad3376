"""Where a queue is: by arguments, by environment, by its URL."""

import pytest

from dawdle import ConfigurationError, Dawdle
from dawdle.backends.sqs import SQS
from dawdle.backends.sqs._place import Place

AWS = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        (AWS, "eu-central-1", None),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/orders", "eu-west-1", None),
        ("https://queue.amazonaws.com/123456789012/orders", None, None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/orders", "cn-north-1", None),
        ("https://vpce-0a1b.sqs.us-east-1.vpce.amazonaws.com/123456789012/orders", "us-east-1", None),
        ("http://localhost:9324/000000000000/orders", None, "http://localhost:9324"),
    ],
)
def test_the_url_says_region_and_server(monkeypatch, url, region, endpoint):
    monkeypatch.delenv("AWS_ENDPOINT_URL_SQS", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    assert Place.of(url, None, None) == Place(url, region, endpoint)


def test_arguments_and_botocores_own_variable_win_over_the_url(monkeypatch):
    assert Place.of(AWS, "us-east-1", "http://localhost:1") == Place(AWS, "us-east-1", "http://localhost:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://localhost:2")
    assert Place.of("http://localhost:3/0/q", None, None).endpoint is None


def test_a_queue_beside_another_is_on_the_same_server():
    assert Place.of(AWS, None, None).beside("arn:aws:sqs:eu-central-1:123456789012:orders-dead") == (
        "https://sqs.eu-central-1.amazonaws.com/123456789012/orders-dead"
    )
    with pytest.raises(ConfigurationError, match="is no ARN of a queue"):
        Place.of(AWS, None, None).beside("arn:aws:sns:eu-central-1:123456789012:orders")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "SQS needs a queue"),
        ({"queue_url": "orders"}, "'orders' is no queue URL: it looks like https"),
        ({"queue_url": "https://sqs.eu-central-1.amazonaws.com/"}, "is no queue URL"),
        ({"queue_url": AWS + ".fifo"}, "is a FIFO queue, which dawdle cannot use yet"),
        ({"queue_url": AWS, "wait": 21}, "wait is a whole number of 0 to 20 seconds, not 21"),
        ({"queue_url": AWS, "wait": 1.5}, "not 1.5"),
        ({"queue_url": AWS, "lease": 0}, "lease is a whole number of 1 to 43199 seconds, not 0"),
        ({"queue_url": AWS, "lease": 43_200}, "not 43200"),
        ({"queue_url": AWS, "dead_letter_url": "x"}, "'x' is no queue URL"),
        ({"queue_url": AWS.replace("//", "//me:canary@")}, "^a URL of SQS has no @ in it"),
        ({"queue_url": AWS, "endpoint_url": "http://me:canary@localhost"}, "^a URL of SQS has no @ in it"),
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
    found = Dawdle()._settings.backend
    assert isinstance(found, SQS)
    assert found._place == Place(f"{AWS}-queue-url", "us-west-2", "http://localhost:9")
    assert found.dead_letters._place.url == f"{AWS}-dead-letter-url"
    assert found.delayed._place.url == f"{AWS}-delay-queue-url"
    assert SQS(AWS, region="eu-west-1")._place == Place(AWS, "eu-west-1", "http://localhost:9")
