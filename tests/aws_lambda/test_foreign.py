"""Events of S3, EventBridge and SNS are read as the types that are declared for them, in SQS and directly.

The shapes are those of AWS's documentation.
"""

import asyncio
import json

import attrs
import msgspec
import pytest

from dawdle import Context, Dawdle, EventError, Registry, Retry
from dawdle.aws_lambda import eventbridge, s3, sns
from dawdle.backends.sqs import SQS
from dawdle.errors import ConfigurationError, NotAnEventError
from tests.aws_lambda.source import LambdaTime

pytestmark = [pytest.mark.anyio, pytest.mark.once]


class Uploaded(msgspec.Struct, frozen=True):
    bucket: str
    key: str
    size: int


@attrs.frozen
class Started:
    state: str


class PriceChanged(msgspec.Struct, frozen=True):
    item: str


class Note(msgspec.Struct, frozen=True):
    message: str
    subject: str = ""


# S3 user guide, "Event message structure".
S3_RECORD = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "us-west-2",
    "eventTime": "1970-01-01T00:00:00.000Z",
    "eventName": "ObjectCreated:Put",
    "userIdentity": {"principalId": "AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "172.16.0.1"},
    "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9"},
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "testConfigRule",
        "bucket": {
            "name": "amzn-s3-demo-bucket",
            "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
            "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
        },
        "object": {
            "key": "Happy+Face%21.jpg",
            "size": 1024,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
# S3 user guide, "Supported event types and destinations".
S3_TEST = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket",
    "RequestId": "5582815E1AEA5ADF",
    "HostId": "8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE",
}
# EventBridge user guide, "Events".
EVENTBRIDGE = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "state": "terminated"},
}
# SNS developer guide, "HTTP/HTTPS notification JSON format".
NOTIFICATION = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": "arn:aws:sns:us-west-2:123456789012:prices",
    "Subject": "My First Message",
    "Message": "Hello world!",
    "Timestamp": "2012-05-02T00:54:06.655Z",
    "SignatureVersion": "1",
    "Signature": "EXAMPLEw6JRN",
    "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService.pem",
    "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
}
# Lambda developer guide, "Invoking Lambda functions with Amazon SNS notifications".
DIRECT_SNS = {
    "Records": [
        {
            "EventVersion": "1.0",
            "EventSubscriptionArn": "arn:aws:sns:us-east-1:123456789012:prices:21be56ed-a058-49f5-8c98-aedd2564c486",
            "EventSource": "aws:sns",
            "Sns": NOTIFICATION,
        }
    ]
}
FOREIGN = [
    s3(Uploaded, "ObjectCreated:*"),
    eventbridge(Started, "EC2 Instance State-change*", source="aws.ec2"),
    sns(Note, "prices"),
]


def notified(message, **fields):
    return NOTIFICATION | {"Message": message} | fields


@pytest.fixture
def got(registry):
    got = []

    @registry.on_event(retry=Retry(initial=0))
    async def note(event: Uploaded | Started | Note | PriceChanged, ctx: Context):
        got.append((event, ctx))

    return got


@pytest.fixture
def function(made, server, registry, got):
    return made(Dawdle(SQS(server.queue("orders").url), registry=registry), foreign=FOREIGN)


IN_SQS = {
    "S3": ({"Records": [S3_RECORD]}, [Uploaded("amzn-s3-demo-bucket", "Happy Face!.jpg", 1024)]),
    "S3, two": (
        {"Records": [S3_RECORD, S3_RECORD | {"eventName": "ObjectCreated:Copy"}]},
        [Uploaded("amzn-s3-demo-bucket", "Happy Face!.jpg", 1024)] * 2,
    ),
    "EventBridge": (EVENTBRIDGE, [Started("terminated")]),
    "SNS": (NOTIFICATION, [Note("Hello world!", "My First Message")]),
    "SNS with JSON": (notified('{"message": "hi"}'), [Note("hi")]),
    "S3 by way of SNS": (
        notified(json.dumps({"Records": [S3_RECORD]})),
        [Uploaded("amzn-s3-demo-bucket", "Happy Face!.jpg", 1024)],
    ),
    "EventBridge by way of SNS": (notified(json.dumps(EVENTBRIDGE)), [Started("terminated")]),
    "a CloudEvent by way of SNS": (
        notified('{"specversion":"1.0","id":"1","source":"shop","type":"PriceChanged","data":{"item":"x"}}'),
        [PriceChanged("x")],
    ),
}


@pytest.mark.parametrize(("body", "events"), IN_SQS.values(), ids=IN_SQS)
async def test_it_is_read_from_an_sqs_message(function, got, source, server, body, events):
    await source.send(json.dumps(body))
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert [event for event, _ in got] == events
    assert len(server.queue("dead")) == 0


async def test_its_handler_learns_where_it_comes_from(function, got, source):
    await source.send(json.dumps({"Records": [S3_RECORD]}))
    await source.invoke(function)
    (_, ctx), *_ = got
    assert ctx.event_id == "C3D13FE58DE4C810.0055AED6DCD90281E5"
    assert ctx.headers["subject"] == "Happy Face!.jpg"
    assert ctx.signaled_at.year == 1970


async def test_its_retry_is_as_every_other(made, server, registry, source):
    function, tries = made(Dawdle(SQS(server.queue("orders").url), registry=registry), foreign=FOREIGN), []

    @registry.on_event(retry=Retry(initial=0))
    async def thumbnail(event: Uploaded, ctx: Context):
        tries.append((event.key, ctx.attempt))
        if ctx.attempt == 1:
            raise ValueError("no")

    await source.send(json.dumps({"Records": [S3_RECORD]}))
    for _ in range(2):
        await source.invoke(function)
    assert tries == [("Happy Face!.jpg", 1), ("Happy Face!.jpg", 2)]


async def test_the_test_event_of_s3_is_deleted(function, got, source, server):
    await source.send(json.dumps(S3_TEST))
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert not got
    assert len(server.queue("dead")) == len(server.queue("orders")) == 0


NOT_DECLARED = {
    "S3": ({"Records": [S3_RECORD | {"eventName": "ObjectRemoved:Delete"}]}, "s3(YourType, 'ObjectRemoved:Delete')"),
    "EventBridge": (EVENTBRIDGE | {"detail-type": "Scheduled Event"}, "eventbridge(YourType, 'Scheduled Event')"),
    "SNS": (notified("hi", TopicArn="arn:aws:sns:us-west-2:123456789012:news"), "sns(YourType, 'news')"),
}


@pytest.mark.parametrize(("body", "advice"), NOT_DECLARED.values(), ids=NOT_DECLARED)
async def test_one_that_is_not_declared_is_dead_lettered_and_the_log_says_how(
    function, got, source, server, caplog, body, advice
):
    await source.send(json.dumps(body))
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert not got
    assert len(server.queue("dead")) == 1
    assert advice in caplog.text


ODD = {
    "no bucket": {"Records": [S3_RECORD | {"s3": "x"}]},
    "a number": 5,
    "no records": {"Records": "x"},
    "a record of another kind": {"Records": [7]},
    "odd times": EVENTBRIDGE | {"time": 7},
    "no message": {"Type": "Notification", "TopicArn": "x"},
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
async def test_what_looks_like_one_and_is_none_is_a_dead_letter(function, got, source, server, body):
    await source.send(json.dumps(body))
    _, answer = await source.invoke(function)
    assert answer == {"batchItemFailures": []}
    assert len(server.queue("dead")) == 1


DIRECT = {
    "S3": ({"Records": [S3_RECORD]}, [Uploaded("amzn-s3-demo-bucket", "Happy Face!.jpg", 1024)]),
    "EventBridge": (EVENTBRIDGE, [Started("terminated")]),
    "SNS": (DIRECT_SNS, [Note("Hello world!", "My First Message")]),
}


@pytest.mark.parametrize(("event", "events"), DIRECT.values(), ids=DIRECT)
async def test_a_function_may_be_invoked_with_it(function, got, server, event, events):
    assert await asyncio.to_thread(function, event, LambdaTime(30)) is None
    assert [event for event, _ in got] == events
    assert len(server.queue("orders")) == 0


async def test_a_direct_one_that_fails_is_owed_by_the_queue(made, server, registry):
    function = made(Dawdle(SQS(server.queue("orders").url), registry=registry), foreign=FOREIGN)

    @registry.on_event(retry=Retry(initial=60))
    async def thumbnail(event: Uploaded):
        raise ValueError("no")

    await asyncio.to_thread(function, {"Records": [S3_RECORD]}, LambdaTime(30))
    (copy,) = server.queue("orders").messages()
    assert '"dawdleattempt":2' in copy.body


async def test_a_direct_one_that_is_not_declared_is_an_error(function):
    with pytest.raises(EventError, match=r"eventbridge\(YourType, 'Scheduled Event'\)"):
        await asyncio.to_thread(function, EVENTBRIDGE | {"detail-type": "Scheduled Event"}, LambdaTime(30))


async def test_what_is_declared_must_be_declared_well(made, server):
    with pytest.raises(NotAnEventError):
        s3(int)
    with pytest.raises(ConfigurationError, match="the name of a foreign event is text"):
        eventbridge(Started, "")
    with pytest.raises(ConfigurationError, match="foreign= is a list of"):
        made(Dawdle(SQS(server.queue("orders").url), registry=Registry()), foreign=[Started])
