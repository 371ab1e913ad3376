"""Records are read as Lambda writes them: Lambda developer guide, "Using Lambda with Amazon SQS"."""

from dawdle.aws_lambda._records import messages_of, shape_of

STANDARD = {
    "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
    "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a...",
    "body": "Test message.",
    "attributes": {
        "ApproximateReceiveCount": "3",
        "SentTimestamp": "1545082649183",
        "SenderId": "AIDAIENQZJOLO23YVJ4VO",
        "ApproximateFirstReceiveTimestamp": "1545082649185",
        "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
    },
    "messageAttributes": {"myAttribute": {"stringValue": "myValue", "dataType": "String"}},
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:my-queue",
    "awsRegion": "us-east-2",
}
FIFO = {
    "messageId": "11d6ee51-4cc7-4302-9e22-7cd8afdaadf5",
    "receiptHandle": "AQEBBX8nesZEXmkhsmZeyIE8iQAMig7qw...",
    "body": "Test message.",
    "attributes": {
        "ApproximateReceiveCount": "1",
        "SentTimestamp": "1573251510774",
        "SequenceNumber": "18849496460467696128",
        "MessageGroupId": "1",
        "SenderId": "AIDAIO23YVJENQZJOL4VO",
        "MessageDeduplicationId": "1",
        "ApproximateFirstReceiveTimestamp": "1573251510774",
    },
    "messageAttributes": {},
    "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
    "eventSource": "aws:sqs",
    "eventSourceARN": "arn:aws:sqs:us-east-2:123456789012:fifo.fifo",
    "awsRegion": "us-east-2",
}


def test_a_standard_record():
    (message,) = messages_of([STANDARD])
    assert message.id == "059f36b4-87a3-44ab-83d2-661975830a7d"
    assert message.queue_arn == "arn:aws:sqs:us-east-2:123456789012:my-queue"
    delivery = message.delivery
    assert (delivery.key, delivery.receipt) == (message.id, STANDARD["receiptHandle"])
    assert (delivery.body, delivery.receive_count, delivery.stored_at) == (b"Test message.", 3, 1545082649.183)
    assert delivery.group is None
    assert delivery.traceparent == "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"


def test_a_fifo_record_has_its_group():
    (message,) = messages_of([FIFO])
    assert message.delivery.group == "1"


def test_what_is_printed_shows_no_receipt():
    (message,) = messages_of([STANDARD])
    assert "AQEB" not in repr(message)


def test_the_shapes_are_told_apart():
    assert shape_of({"Records": [STANDARD]}) == "sqs"
    assert shape_of([STANDARD]) == "pipes"
    assert shape_of({"Records": [{"eventSource": "aws:s3"}]}) == "foreign"
    assert shape_of({"Records": [{"EventSource": "aws:sns"}]}) == "foreign"
    assert shape_of({"detail-type": "x", "detail": {}}) == "foreign"
    assert shape_of({"Records": [{"eventSource": "aws:dynamodb"}]}) == "other"
    assert shape_of("ping") == shape_of(None) == "other"
