"""Our requests and answers are those of SQS's own service model, and an answer that is not SQS's is an error."""

import json
from math import ceil
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

import botocore.session
import msgspec
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from dawdle.abc import Outgoing, ReleaseEntry
from dawdle.backends.sqs._conversion import (
    batch_results,
    delete_entries,
    deliveries_of,
    send_entries,
    system_attributes,
    visibility_entries,
)
from dawdle.backends.sqs._data_plane import _shapes
from dawdle.backends.sqs._data_plane._shapes import (
    BatchAnswer,
    BatchRequest,
    DeleteEntry,
    Failed,
    Message,
    MessageAttributes,
    ReceiveAnswer,
    ReceiveRequest,
    SendEntry,
    Succeeded,
    VisibilityEntry,
    encode,
    from_botocore,
    read_batch,
    read_error,
    read_receive,
)
from dawdle.errors import BackendError

MODEL = botocore.session.get_session().get_service_model("sqs")
URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
CANARY = "canary-7f3a"


def inner(annotation):
    """Return a type without None and without its bounds, and whether None is in it."""
    if get_origin(annotation) is Annotated:
        return inner(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        kinds = [each for each in get_args(annotation) if each is not NoneType]
        return (kinds[0] if len(kinds) == 1 else kinds), NoneType in get_args(annotation)
    return annotation, False


SCALARS = {"string": str, "integer": int, "boolean": bool}
NEEDED = {(Message, "MessageId"), (Message, "ReceiptHandle"), (Message, "Body")}
"""What the model does not promise in an answer, and without which a message cannot be handled."""


def check(struct, shape, *, sent):
    """Compare the fields of a Struct with the members of a shape. `sent`: it is ours, else an answer."""
    needed = {field.encode_name for field in msgspec.structs.fields(struct) if field.required}
    if sent:  # we never leave out what SQS requires
        assert needed >= set(shape.required_members)
    else:  # we require nothing that SQS may leave out
        assert needed <= set(shape.required_members) | {name for kind, name in NEEDED if kind is struct}
    for field in msgspec.structs.fields(struct):
        member = shape.members[field.encode_name]
        kind, optional = inner(field.type)
        assert optional or field.required or field.default is not None
        if member.type_name in SCALARS:
            number = field.encode_name == "Id" and not sent  # a text that holds the number of our entry
            assert kind is (int if number else SCALARS[member.type_name]), field.encode_name
        else:
            wanted = {"list": ("list", "Sequence"), "map": ("MessageAttributes",)}[member.type_name]
            assert any(name in str(kind) for name in wanted), field.encode_name


BATCHES = {
    "SendMessageBatch": (
        SendEntry,
        [
            *send_entries(URL, [Outgoing("größe\n".encode(), 1.2, "tenant-7", "d"), Outgoing(b"x")]),
            *send_entries(f"{URL}.fifo", [Outgoing(b"x", group="tenant-7", dedup="d"), Outgoing(b"x")]),
        ],
    ),
    "DeleteMessageBatch": (DeleteEntry, delete_entries(["r1", "r2"])),
    "ChangeMessageVisibilityBatch": (
        VisibilityEntry,
        visibility_entries([ReleaseEntry("r1", 0), ReleaseEntry("r2", 3.1)]),
    ),
}


@pytest.mark.parametrize("operation", BATCHES)
def test_a_batch_is_that_of_the_service_model(operation):
    model = MODEL.operation_model(operation)
    entry, _ = BATCHES[operation]
    check(BatchRequest, model.input_shape, sent=True)
    check(entry, model.input_shape.members["Entries"].member, sent=True)
    check(BatchAnswer, model.output_shape, sent=False)
    check(Failed, model.output_shape.members["Failed"].member, sent=False)
    succeeded = model.output_shape.members["Successful"].member
    if operation == "SendMessageBatch":
        check(Succeeded, succeeded, sent=False)
    else:
        assert "Id" in succeeded.members


def test_a_receive_is_that_of_the_service_model():
    model = MODEL.operation_model("ReceiveMessage")
    check(ReceiveRequest, model.input_shape, sent=True)
    check(ReceiveAnswer, model.output_shape, sent=False)
    message = model.output_shape.members["Messages"].member
    check(Message, message, sent=False)
    names = message.members["Attributes"].key.enum
    ours = [field.encode_name for field in msgspec.structs.fields(MessageAttributes)]
    assert set(ours) <= set(names)
    assert set(ours) == set(system_attributes(with_source=True))


def test_every_struct_of_the_room_is_compared():
    structs = {each for each in vars(_shapes).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)}
    compared = {BatchAnswer, BatchRequest, Failed, Message, MessageAttributes, ReceiveAnswer, ReceiveRequest, Succeeded}
    assert structs - {msgspec.Struct} == compared | {entry for entry, _ in BATCHES.values()}


@pytest.mark.parametrize("operation", BATCHES)
def test_botocore_serializes_the_same_request(operation):
    from botocore.serialize import create_serializer
    from botocore.validate import ParamValidator

    model = MODEL.operation_model(operation)
    _, entries = BATCHES[operation]
    parameters = {"QueueUrl": URL, "Entries": msgspec.to_builtins(entries)}
    assert not ParamValidator().validate(parameters, model.input_shape).has_errors()
    theirs = create_serializer("json").serialize_to_request(parameters, model)["body"]
    assert json.loads(encode(BatchRequest(URL, entries))) == json.loads(theirs)


def test_botocore_serializes_the_same_receive():
    from botocore.serialize import create_serializer

    request = ReceiveRequest(URL, 10, 60, 0, system_attributes(with_source=False))
    theirs = create_serializer("json").serialize_to_request(
        msgspec.to_builtins(request), MODEL.operation_model("ReceiveMessage")
    )["body"]
    assert json.loads(encode(request)) == json.loads(theirs)
    assert json.loads(encode(request))["WaitTimeSeconds"] == 0


@given(st.lists(st.builds(Outgoing, st.text(min_size=1).map(lambda text: text.encode()), st.floats(0, 900))))
def test_what_is_sent_is_what_was_given_and_no_delay_is_shorter(batch):
    sent = json.loads(encode(BatchRequest(URL, send_entries(URL, batch))))["Entries"]
    assert [each["MessageBody"].encode() for each in sent] == [each.body for each in batch]
    assert [each.get("DelaySeconds", 0) for each in sent] == [ceil(each.delay) for each in batch]
    assert [each["Id"] for each in sent] == [str(number) for number in range(len(batch))]
    assert all(not {"MessageGroupId", "MessageDeduplicationId"} & each.keys() for each in sent)


@given(st.lists(st.tuples(st.sampled_from([None, "a", "b"]), st.sampled_from([None, "1", "2"]))))
def test_each_message_for_a_fifo_queue_has_a_group_and_a_deduplication_id(batch):
    outgoing = [Outgoing(b"x", group=group, dedup=dedup) for group, dedup in batch]
    sent = json.loads(encode(BatchRequest(URL, send_entries(f"{URL}.fifo", outgoing))))["Entries"]
    assert [each["MessageDeduplicationId"] for each, (_, dedup) in zip(sent, batch, strict=True) if dedup] == [
        dedup for _, dedup in batch if dedup
    ]
    for each, (group, _) in zip(sent, batch, strict=True):
        assert each["MessageGroupId"] == (group or each["MessageDeduplicationId"])


MESSAGE = {
    "MessageId": "m",
    "ReceiptHandle": "r",
    "Body": "größe",
    "MD5OfBody": "6a6bc04d62bbb0ed1c2b2ac7ea0f5bb8",
    "MD5OfMessageAttributes": "of another year",
    "Attributes": {
        "SentTimestamp": "1795837260123",
        "ApproximateReceiveCount": "1",
        "ApproximateFirstReceiveTimestamp": "1795837261500",
        "MessageGroupId": "tenant-7",
        "SenderId": "AIDA",
    },
}


def without(name, value=None):
    return {key: each for key, each in {**MESSAGE, name: value}.items() if each is not None}


def test_a_message_keeps_its_times_and_its_group():
    del (message := dict(MESSAGE))["MD5OfBody"]
    (delivery,) = deliveries_of(read_receive(json.dumps({"Messages": [message]}).encode()), None)
    assert (delivery.receipt, delivery.key, delivery.body) == ("r", "m", "größe".encode())
    assert (delivery.receive_count, delivery.stored_at, delivery.received_at) == (1, 1795837260.123, 1795837261.5)
    assert (delivery.group, delivery.origin) == ("tenant-7", None)


@pytest.mark.parametrize(
    "body", ["{}", ' {"Messages": null} ', '{"Messages": []}', '{"Messages": [], "Of": "2031"}'], ids=str
)
def test_an_empty_queue_is_one_without_messages(body):
    assert deliveries_of(read_receive(body.encode()), None) == []


NO_ANSWERS = [
    b"",
    b"null",
    b"[1]",
    b'"text"',
    b"<html></html>",
    b"\xff\xfe{}",
    b'{"Messages": [',
    b'{"Messages": "canary-7f3a"}',
    b'{"Messages": ["canary-7f3a"]}',
    b'{"Messages": [null]}',
    b'{"Messages": [{"Body": "\xff\xfe"}]}',
    *(json.dumps({"Messages": [without(name)]}).encode() for name in ("MessageId", "ReceiptHandle", "Body")),
    *(json.dumps({"Messages": [without(name, 7)]}).encode() for name in ("MessageId", "ReceiptHandle", "Body")),
    json.dumps({"Messages": [without("Attributes", {"SentTimestamp": CANARY})]}).encode(),
]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=repr)
def test_a_receive_that_is_not_of_sqs_is_no_empty_queue(body):
    with pytest.raises(BackendError, match="HTTP 200, but not a response of SQS") as caught:
        read_receive(body)
    assert caught.value.kind == "unavailable"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"Successful": [{}]}',
        b'{"Successful": [{"Id": "canary-7f3a"}]}',
        b'{"Successful": [{"Id": "-1"}]}',
        b'{"Failed": [{"Code": "InternalError"}]}',
        b'{"Failed": [{"Id": "0", "Code": 7}]}',
        b'{"Failed": "canary-7f3a"}',
    ],
    ids=repr,
)
def test_a_batch_answer_that_is_not_of_sqs_is_an_error(body):
    with pytest.raises(BackendError, match="HTTP 200, but not a response of SQS"):
        read_batch(body)


def test_what_was_not_asked_for_is_an_error_and_what_is_not_mentioned_is_uncertain():
    with pytest.raises(BackendError, match="HTTP 200, but not a response of SQS"):
        batch_results(read_batch(b'{"Successful": [{"Id": "2"}]}'), 2)
    answer = read_batch(
        b'{"Successful": [{"Id": "2"}], "Failed": [{"Id": "0", "Code": "InvalidParameterValue", "SenderFault": true}]}'
    )
    refused, unknown, stored = batch_results(answer, 3)
    assert (refused.kind, unknown.kind, stored) == ("refused", "unavailable", None)
    assert unknown.reason == "the response does not mention this entry"


texts = st.one_of(st.none(), st.text(max_size=5), st.integers(-3, 3), st.just("7"))
entries = st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(("Id", "Code", "Message"), texts)), max_size=3)
answers = st.fixed_dictionaries({}, optional={name: st.one_of(st.none(), entries) for name in ("Successful", "Failed")})


@given(answers)
def test_both_ways_read_an_answer_the_same(answer):
    def read(make):
        try:
            return make()
        except BackendError as error:
            return str(error)

    assert read(lambda: read_batch(json.dumps(answer).encode())) == read(lambda: from_botocore(answer, BatchAnswer))


codes = st.one_of(
    st.none(),
    st.sampled_from(["QueueDoesNotExist", "com.amazonaws.sqs#QueueDoesNotExist", "a#b#c", "#", ""]),
    st.text(max_size=8),
)
queries = st.one_of(
    st.none(),
    st.sampled_from(["AWS.SimpleQueueService.NonExistentQueue;Sender", ";Sender", "a;b;c", "none", "", "a;"]),
)


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "__type": codes.filter(lambda code: code is not None and ":" not in code),
            "message": st.text(max_size=9),
            "Message": st.text(max_size=9),
        },
    ),
    query=queries,
    status=st.sampled_from([400, 403, 404, 429, 500, 503]),
)
def test_an_error_has_the_code_and_message_that_botocore_reads(fields, query, status):
    body = json.dumps(fields).encode()
    headers = {} if query is None else {"x-amzn-query-error": query}
    theirs = create_parser("json").parse({"status_code": status, "headers": headers, "body": body}, None)
    ours = read_error(status, query, body)
    assert ours["Error"]["Code"] == theirs["Error"]["Code"]
    assert ours["Error"]["Message"] == theirs["Error"]["Message"]
    assert ours["ResponseMetadata"]["HTTPStatusCode"] == theirs["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"<html>canary-7f3a</html>", b"\xff", b'{"__type": 7}', b"null"], ids=repr
)
def test_an_error_that_is_not_of_sqs_has_its_status_for_a_code(body):
    assert read_error(403, None, body)["Error"]["Code"] == "403"


def test_what_follows_a_colon_is_not_of_the_code():
    """As botocore reads it; the oldest one that dawdle runs with does not yet."""
    assert read_error(400, None, b'{"__type": "a.b#Denied:http://c#d"}')["Error"]["Code"] == "Denied"
