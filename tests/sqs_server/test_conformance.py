"""The same questions to our server and to ministack, a server that others wrote, by botocore's own client and model.

Where the two differ, `DIFFERS` says what the documentation has, and ours follows it. A line there is asserted in
both directions: a check that ministack begins to pass fails here until its line is removed.
"""

import hashlib
import itertools
import json
import struct
import time

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.once

API = "SQS API reference, "
GUIDE = "SQS developer guide, "

DIFFERS = {
    "test_a_deleted_queues_name_is_taken_for_a_minute": API + "DeleteQueue: wait at least 60 seconds before creating "
    "a queue with the same name",
    "test_a_bad_name_is_refused": API
    + "CreateQueue, QueueName: up to 80 of alphanumerics, - and _; FIFO ends in .fifo",
    "test_an_unknown_queue_attribute_is_refused": API + "SetQueueAttributes, errors: InvalidAttributeName",
    "test_a_second_purge_within_a_minute_is_refused": API + "PurgeQueue, errors: PurgeQueueInProgress, HTTP 403",
    "test_a_send_answers_the_digest_of_body_attributes_and_system_attributes": API + "SendMessage, response: "
    "MD5OfMessageSystemAttributes; Message: AWSTraceHeader",
    "test_a_delay_out_of_range_is_refused": API + "SendMessage, DelaySeconds: 0 to 900",
    "test_attributes_count_towards_the_size": GUIDE
    + "message metadata: all parts of an attribute are part of the size",
    "test_a_bad_attribute_name_is_refused": GUIDE + "message metadata, components: Name",
    "test_a_bad_attribute_type_or_value_is_refused": GUIDE + "message metadata, data types: String, Number, Binary",
    "test_a_message_has_ten_attributes_at_most": GUIDE + "message quotas: up to 10 metadata attributes",
    "test_a_deduplication_id_on_a_standard_queue_is_refused": API + "SendMessage, MessageDeduplicationId: applies only "
    "to FIFO queues",
    "test_an_entry_that_is_wrong_fails_alone[DelaySeconds]": API + "SendMessageBatch: results are reported for each "
    "message; DelaySeconds: 0 to 900",
    "test_an_entry_that_is_wrong_fails_alone[MessageAttributes]": GUIDE + "message metadata, components: Name",
    "test_deletes_and_changes_of_a_batch_fail_alone": API + "ChangeMessageVisibility, VisibilityTimeout: 0 to 43200",
    "test_a_receive_out_of_range_is_refused[WaitTimeSeconds=21]": GUIDE + "long polling: at most 20 seconds",
    "test_a_receive_out_of_range_is_refused[VisibilityTimeout=43201]": GUIDE + "visibility timeout: at most 12 hours",
    "test_an_unknown_message_system_attribute_is_refused": API
    + "ReceiveMessage, MessageSystemAttributeNames: valid values",
    "test_a_deleted_message_is_gone_and_deleting_it_again_is_no_error": API + "DeleteMessage: make your application "
    "idempotent; a message may be deleted more than once",
    "test_an_old_handles_delete_says_ok_and_deletes_nothing": API
    + "DeleteMessage, note: with an old ReceiptHandle the "
    "request succeeds, but the message might not be deleted",
    "test_a_message_not_in_flight_cannot_be_changed": API + "ChangeMessageVisibility, errors: MessageNotInflight",
    "test_a_change_out_of_range_is_refused": API + "ChangeMessageVisibility, VisibilityTimeout: 0 to 43200",
    "test_a_message_is_hidden_for_twelve_hours_from_its_receive_at_most": GUIDE + "visibility timeout: 12 hours from "
    "when the message is first received; extending does not reset it",
    "test_the_sources_of_a_dead_letter_queue_are_listed": API + "ListDeadLetterSourceQueues",
    "test_a_redrive_policy_that_cannot_work_is_refused[missing]": "what the service answers, in "
    "github.com/crossplane-contrib/provider-aws/issues/443: InvalidParameterValue",
    "test_a_redrive_policy_that_cannot_work_is_refused[kind]": API
    + "SetQueueAttributes, RedrivePolicy: the dead-letter "
    "queue of a FIFO queue is a FIFO queue",
    "test_a_redrive_policy_that_cannot_work_is_refused[count]": "what the service answers, in "
    "github.com/crossplane-contrib/provider-aws/issues/443: InvalidParameterValue",
    "test_a_move_task_brings_dead_letters_back_as_new_messages": API + "StartMessageMoveTask",
    "test_a_move_task_goes_where_it_is_told_though_nothing_is_there_yet": API
    + "StartMessageMoveTask, DestinationArn: the queue that receives the moved messages",
    "test_a_move_task_with_a_rate_can_be_cancelled": API + "StartMessageMoveTask, CancelMessageMoveTask",
    "test_only_a_dead_letter_queue_can_be_moved": API + "StartMessageMoveTask, SourceArn: dead-letter queues only",
    "test_an_attempt_that_is_repeated_gets_the_same_messages_and_handles": API + "ReceiveMessage, "
    "ReceiveRequestAttemptId: the same messages and receipt handles during a visibility timeout",
    "test_an_expired_handle_on_a_fifo_queue_is_an_error": API
    + "ReceiveMessage, ReceiveRequestAttemptId: deleting after "
    "the visibility timeout fails with an error",
    "test_a_fifo_dead_letter_keeps_its_group": GUIDE
    + "dead-letter queue redrive, note: the deduplication id is replaced "
    "by the original message's id",
}

_names = itertools.count(1)


@pytest.fixture(params=["ours", pytest.param("ministack", marks=pytest.mark.xdist_group("ministack"))])
def sqs(request):
    """A botocore client of the server."""
    client = request.getfixturevalue(f"{request.param}_client")
    name = request.node.originalname
    case = request.node.callspec.params
    source = DIFFERS.get(name) or DIFFERS.get(f"{name}[{case.get('case')}]")
    if request.param == "ministack" and source:
        raises = (AssertionError, ClientError, KeyError, pytest.fail.Exception)
        request.applymarker(pytest.mark.xfail(raises=raises, strict=True, reason=f"ministack differs from: {source}"))
    return client


def test_every_line_of_the_differences_is_about_a_check_of_this_page():
    assert {line.partition("[")[0] for line in DIFFERS} <= set(globals())


@pytest.fixture
def make(sqs):
    """`make(Attribute="value")` creates a queue and returns its URL."""

    def make(**attributes):
        name = f"conformance-{next(_names)}-{time.time_ns()}" + (".fifo" if "FifoQueue" in attributes else "")
        return sqs.create_queue(QueueName=name, Attributes={k: str(v) for k, v in attributes.items()})["QueueUrl"]

    return make


@pytest.fixture
def url(make):
    return make()


@pytest.fixture
def fifo(make):
    return make(FifoQueue="true")


def send(sqs, url, body="a", **more):
    return sqs.send_message(QueueUrl=url, MessageBody=body, **more)


def receive(sqs, url, **more):
    return sqs.receive_message(QueueUrl=url, **{"MaxNumberOfMessages": 10} | more).get("Messages", [])


def bodies(messages):
    return [message["Body"] for message in messages]


def attribute(sqs, url, name):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name]


def arn(sqs, url):
    return attribute(sqs, url, "QueueArn")


def refused(call, **parameters):
    """Return (code of the model, HTTP status) of a refusal."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response
    return error["Error"].get("QueryErrorCode", error["Error"]["Code"]), error["ResponseMetadata"]["HTTPStatusCode"]


def md5(text):
    return hashlib.md5(text.encode()).hexdigest()


def text(value, kind="String"):
    return {"DataType": kind, "StringValue": value}


# Queues


def test_a_queue_is_created_found_listed_and_deleted(sqs, url):
    name = url.rpartition("/")[2]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == url
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [url]
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName=name)


def test_creating_a_queue_again_with_the_same_attributes_returns_its_url(sqs, make):
    url = make(VisibilityTimeout=45)
    name = url.rpartition("/")[2]
    assert sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "45"})["QueueUrl"] == url


def test_creating_a_queue_again_with_other_attributes_is_an_error(sqs, make):
    name = make(VisibilityTimeout=45).rpartition("/")[2]
    with pytest.raises(sqs.exceptions.QueueNameExists):
        sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "46"})


def test_a_deleted_queues_name_is_taken_for_a_minute(sqs, url):
    sqs.delete_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.QueueDeletedRecently):
        sqs.create_queue(QueueName=url.rpartition("/")[2])


@pytest.mark.parametrize("case", ["a b", "x" * 81, "a.fifo"])
def test_a_bad_name_is_refused(sqs, case):
    assert refused(sqs.create_queue, QueueName=case) == ("InvalidParameterValue", 400)


@pytest.mark.parametrize(
    "case", ["DelaySeconds=901", "VisibilityTimeout=43201", "MaximumMessageSize=1048577", "MessageRetentionPeriod=59"]
)
def test_a_queue_attribute_out_of_range_is_refused(sqs, url, case):
    name, _, value = case.partition("=")
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value}) == ("InvalidAttributeValue", 400)


def test_an_unknown_queue_attribute_is_refused(sqs, url):
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"Colour": "red"})[0] == "InvalidAttributeName"
    assert refused(sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["Colour"])[0] == "InvalidAttributeName"


def test_the_defaults_of_a_queue_are_those_that_are_documented(sqs, url):
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    wanted = {
        "VisibilityTimeout": "30",
        "DelaySeconds": "0",
        "ReceiveMessageWaitTimeSeconds": "0",
        "MessageRetentionPeriod": "345600",
        "MaximumMessageSize": "1048576",
    }
    assert {name: found.get(name) for name in wanted} == wanted


def test_counts_tell_visible_in_flight_and_delayed(sqs, url):
    for delay in (0, 0, 900):
        send(sqs, url, DelaySeconds=delay)
    receive(sqs, url, MaxNumberOfMessages=1)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert found["ApproximateNumberOfMessages"] == "1"
    assert found["ApproximateNumberOfMessagesNotVisible"] == "1"
    assert found["ApproximateNumberOfMessagesDelayed"] == "1"


def test_tags_are_set_listed_and_removed(sqs, url):
    sqs.tag_queue(QueueUrl=url, Tags={"a": "1", "b": "2"})
    sqs.untag_queue(QueueUrl=url, TagKeys=["a"])
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"b": "2"}


def test_a_purge_takes_everything(sqs, url):
    send(sqs, url)
    send(sqs, url, DelaySeconds=1)
    sqs.purge_queue(QueueUrl=url)
    assert receive(sqs, url) == []


def test_a_second_purge_within_a_minute_is_refused(sqs, url):
    sqs.purge_queue(QueueUrl=url)
    with pytest.raises(sqs.exceptions.PurgeQueueInProgress) as caught:
        sqs.purge_queue(QueueUrl=url)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_listing_goes_page_by_page(sqs, make):
    made = {make() for _ in range(3)}
    seen, token = set(), {}
    for _ in range(200):
        page = sqs.list_queues(QueueNamePrefix="conformance-", MaxResults=2, **token)
        assert len(page["QueueUrls"]) <= 2
        seen |= set(page["QueueUrls"])
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert made <= seen


# Sending


def test_a_send_answers_the_digest_of_body_attributes_and_system_attributes(sqs, url):
    binary = {"DataType": "Binary", "BinaryValue": b"\x00\xff"}
    attributes = {"b": text("ä"), "a": text("1", "Number.int"), "c": binary}
    trace = {"AWSTraceHeader": text("Root=1-67891233-abcdef012345678912345678")}
    answer = send(sqs, url, "hällo", MessageAttributes=attributes, MessageSystemAttributes=trace)

    def measured(part):
        part = part if isinstance(part, bytes) else part.encode()
        return struct.pack(">I", len(part)) + part

    def digest(values):
        joined = b""
        for name, value in sorted(values.items()):
            kind, content = (1, value["StringValue"]) if "StringValue" in value else (2, value["BinaryValue"])
            joined += measured(name) + measured(value["DataType"]) + bytes([kind]) + measured(content)
        return hashlib.md5(joined).hexdigest()

    assert answer["MD5OfMessageBody"] == md5("hällo")
    assert answer["MD5OfMessageAttributes"] == digest(attributes)
    assert answer["MD5OfMessageSystemAttributes"] == digest(trace)
    (got,) = receive(sqs, url, MessageAttributeNames=["a", "c"], AttributeNames=["AWSTraceHeader"])
    assert got["MessageAttributes"] == {"a": attributes["a"], "c": binary}
    assert got["MD5OfMessageAttributes"] == digest({"a": attributes["a"], "c": binary})
    assert got["Attributes"] == {"AWSTraceHeader": trace["AWSTraceHeader"]["StringValue"]}


@pytest.mark.parametrize("case", ["\x00", "a\x1f", "\ufffe", "\uffff"])
def test_a_character_that_xml_has_not_is_refused(sqs, url, case):
    assert refused(send, sqs=sqs, url=url, body=case) == ("InvalidMessageContents", 400)


def test_tab_newline_return_and_all_planes_are_kept(sqs, url):
    body = "\t\n\r\x7f\x85\ue000\ufffd\U0001f600\U0010ffff"
    send(sqs, url, body)
    assert bodies(receive(sqs, url)) == [body]


def test_an_empty_body_is_refused(sqs, url):
    assert refused(send, sqs=sqs, url=url, body="") == ("MissingParameter", 400)


@pytest.mark.parametrize("case", [-1, 901])
def test_a_delay_out_of_range_is_refused(sqs, url, case):
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a", DelaySeconds=case) == ("InvalidParameterValue", 400)


def test_a_message_of_one_mebibyte_is_taken_and_one_byte_more_is_not(sqs, url):
    send(sqs, url, "x" * 1_048_576)
    assert refused(send, sqs=sqs, url=url, body="x" * 1_048_577) == ("InvalidParameterValue", 400)


def test_attributes_count_towards_the_size(sqs, url):
    attributes = {"name": text("12345")}
    room = 1_048_576 - len("name") - len("String") - len("12345")
    send(sqs, url, "x" * room, MessageAttributes=attributes)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="x" * (room + 1), MessageAttributes=attributes) == (
        "InvalidParameterValue",
        400,
    )


def test_a_queue_may_take_less(sqs, make):
    url = make(MaximumMessageSize=1024)
    send(sqs, url, "x" * 1024)
    assert refused(send, sqs=sqs, url=url, body="x" * 1025) == ("InvalidParameterValue", 400)


@pytest.mark.parametrize("case", ["AWS.x", "amazon.x", ".x", "x.", "a..b", "a b", "x" * 257])
def test_a_bad_attribute_name_is_refused(sqs, url, case):
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a", MessageAttributes={case: text("1")}) == (
        "InvalidParameterValue",
        400,
    )


@pytest.mark.parametrize("case", ["Text", "string", "Number"])
def test_a_bad_attribute_type_or_value_is_refused(sqs, url, case):
    attributes = {"x": text("no number", case)}
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a", MessageAttributes=attributes) == (
        "InvalidParameterValue",
        400,
    )


def test_a_message_has_ten_attributes_at_most(sqs, url):
    ten = {f"n{number}": text("1") for number in range(10)}
    send(sqs, url, MessageAttributes=ten)
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a", MessageAttributes=ten | {"more": text("1")}) == (
        "InvalidParameterValue",
        400,
    )


def test_a_group_on_a_standard_queue_is_kept(sqs, url):
    send(sqs, url, MessageGroupId="tenant-7")
    (got,) = receive(sqs, url, MessageSystemAttributeNames=["MessageGroupId"])
    assert got["Attributes"] == {"MessageGroupId": "tenant-7"}


def test_a_deduplication_id_on_a_standard_queue_is_refused(sqs, url):
    assert refused(sqs.send_message, QueueUrl=url, MessageBody="a", MessageDeduplicationId="x") == (
        "InvalidParameterValue",
        400,
    )


def test_a_queue_that_is_not_there_is_the_models_exception(sqs, url):
    missing = url + "-missing"
    for call, more in [
        (sqs.send_message, {"MessageBody": "a"}),
        (sqs.receive_message, {}),
        (sqs.delete_message, {"ReceiptHandle": "x"}),
        (sqs.get_queue_attributes, {"AttributeNames": ["All"]}),
    ]:
        with pytest.raises(sqs.exceptions.QueueDoesNotExist) as caught:
            call(QueueUrl=missing, **more)
        assert caught.value.response["Error"]["Code"] == "AWS.SimpleQueueService.NonExistentQueue"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


# Batches


def entries(*ids, **more):
    return [{"Id": i, "MessageBody": i or "x"} | more for i in ids]


@pytest.mark.parametrize(
    "case",
    [
        "EmptyBatchRequest",
        "TooManyEntriesInBatchRequest",
        "BatchEntryIdsNotDistinct",
        "InvalidBatchEntryId",
        "BatchRequestTooLong",
    ],
)
def test_a_batch_that_is_wrong_as_a_whole_is_the_models_exception(sqs, url, case):
    wrong = {
        "EmptyBatchRequest": [],
        "TooManyEntriesInBatchRequest": entries(*"abcdefghijk"),
        "BatchEntryIdsNotDistinct": entries("a", "a"),
        "InvalidBatchEntryId": entries("a b"),
        "BatchRequestTooLong": entries("a", "b", MessageBody="x" * 524_289),
    }[case]
    with pytest.raises(getattr(sqs.exceptions, case)) as caught:
        sqs.send_message_batch(QueueUrl=url, Entries=wrong)
    assert caught.value.response["Error"]["Code"] == f"AWS.SimpleQueueService.{case}"
    assert receive(sqs, url) == []


@pytest.mark.parametrize("case", ["DelaySeconds", "MessageBody", "MessageAttributes"])
def test_an_entry_that_is_wrong_fails_alone(sqs, url, case):
    wrong = {"DelaySeconds": 901, "MessageBody": "\x00", "MessageAttributes": {"a b": text("1")}}[case]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=entries("a") + entries("b", **{case: wrong}) + entries("c"))
    assert [entry["Id"] for entry in answer["Successful"]] == ["a", "c"]
    assert [(entry["Id"], entry["SenderFault"]) for entry in answer["Failed"]] == [("b", True)]
    assert sorted(bodies(receive(sqs, url))) == ["a", "c"]


def test_deletes_and_changes_of_a_batch_fail_alone(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url)[0]["ReceiptHandle"]
    changed = sqs.change_message_visibility_batch(
        QueueUrl=url,
        Entries=[
            {"Id": "good", "ReceiptHandle": handle, "VisibilityTimeout": 60},
            {"Id": "bad", "ReceiptHandle": "x", "VisibilityTimeout": 60},
            {"Id": "long", "ReceiptHandle": handle, "VisibilityTimeout": 43_201},
        ],
    )
    assert [entry["Id"] for entry in changed["Successful"]] == ["good"]
    assert [entry["Id"] for entry in changed["Failed"]] == ["bad", "long"]
    deleted = sqs.delete_message_batch(
        QueueUrl=url, Entries=[{"Id": "good", "ReceiptHandle": handle}, {"Id": "bad", "ReceiptHandle": "x"}]
    )
    assert [entry["Id"] for entry in deleted["Successful"]] == ["good"]
    assert [(entry["Id"], entry["Code"]) for entry in deleted["Failed"]] == [("bad", "ReceiptHandleIsInvalid")]


# Receiving


def test_only_the_attributes_that_were_asked_for_come(sqs, url):
    send(sqs, url, MessageAttributes={name: text("1") for name in ("app.a", "app.b", "other")})
    (got,) = receive(sqs, url, VisibilityTimeout=0, MessageAttributeNames=["app.*"], AttributeNames=["SentTimestamp"])
    assert set(got["MessageAttributes"]) == {"app.a", "app.b"}
    assert set(got["Attributes"]) == {"SentTimestamp"}
    (got,) = receive(sqs, url, VisibilityTimeout=0, MessageAttributeNames=["All"], AttributeNames=["All"])
    assert set(got["MessageAttributes"]) == {"app.a", "app.b", "other"}
    assert {"SenderId", "SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"} <= set(
        got["Attributes"]
    )
    (got,) = receive(sqs, url, VisibilityTimeout=0)
    assert "MessageAttributes" not in got
    assert "Attributes" not in got


def test_receives_are_counted_and_the_first_is_remembered(sqs, url):
    send(sqs, url)
    first, second = (receive(sqs, url, VisibilityTimeout=0, AttributeNames=["All"])[0] for _ in range(2))
    assert [m["Attributes"]["ApproximateReceiveCount"] for m in (first, second)] == ["1", "2"]
    name = "ApproximateFirstReceiveTimestamp"
    assert first["Attributes"][name] == second["Attributes"][name]
    assert first["ReceiptHandle"] != second["ReceiptHandle"]
    assert first["MessageId"] == second["MessageId"]


@pytest.mark.parametrize(
    "case", ["MaxNumberOfMessages=0", "MaxNumberOfMessages=11", "WaitTimeSeconds=21", "VisibilityTimeout=43201"]
)
def test_a_receive_out_of_range_is_refused(sqs, url, case):
    name, _, value = case.partition("=")
    send(sqs, url)
    assert refused(sqs.receive_message, QueueUrl=url, **{name: int(value)}) == ("InvalidParameterValue", 400)


def test_an_unknown_message_system_attribute_is_refused(sqs, url):
    send(sqs, url)
    assert refused(sqs.receive_message, QueueUrl=url, AttributeNames=["Colour"])[0] == "InvalidAttributeName"


def test_a_deleted_message_is_gone_and_deleting_it_again_is_no_error(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url)[0]["ReceiptHandle"]
    for _ in range(2):
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "0"


def test_an_old_handles_delete_says_ok_and_deletes_nothing(sqs, url):
    send(sqs, url)
    old = receive(sqs, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    receive(sqs, url)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=old)
    assert attribute(sqs, url, "ApproximateNumberOfMessagesNotVisible") == "1"


def test_an_expired_handle_deletes_until_another_receive_has_the_message(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    assert receive(sqs, url) == []


def test_a_handle_that_is_none_is_the_models_exception(sqs, url):
    for call, more in [(sqs.delete_message, {}), (sqs.change_message_visibility, {"VisibilityTimeout": 1})]:
        with pytest.raises(sqs.exceptions.ReceiptHandleIsInvalid):
            call(QueueUrl=url, ReceiptHandle="no handle", **more)


def test_a_release_makes_a_message_visible_at_once(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url)[0]["ReceiptHandle"]
    assert receive(sqs, url) == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=0)
    assert bodies(receive(sqs, url)) == ["a"]


@pytest.mark.slow
def test_visibility_ends_and_a_change_counts_from_now(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url, VisibilityTimeout=30)[0]["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=1)
    assert receive(sqs, url) == []
    assert bodies(receive(sqs, url, WaitTimeSeconds=3)) == ["a"]


@pytest.mark.slow
def test_a_delay_hides_a_message_and_ends(sqs, make):
    url = make(DelaySeconds=1)
    send(sqs, url, "late")
    send(sqs, url, "now", DelaySeconds=0)
    assert bodies(receive(sqs, url)) == ["now"]
    assert bodies(receive(sqs, url, WaitTimeSeconds=3)) == ["late"]


@pytest.mark.slow
def test_an_empty_long_poll_lasts_its_time(sqs, make):
    url = make(ReceiveMessageWaitTimeSeconds=1)
    started = time.monotonic()
    assert receive(sqs, url) == []
    assert 0.9 <= time.monotonic() - started < 15


def test_a_message_not_in_flight_cannot_be_changed(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url, VisibilityTimeout=0)[0]["ReceiptHandle"]
    with pytest.raises(sqs.exceptions.MessageNotInflight):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=10)


def test_a_change_out_of_range_is_refused(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url)[0]["ReceiptHandle"]
    for timeout in (-1, 43_201):
        assert refused(
            sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=timeout
        ) == ("InvalidParameterValue", 400)


@pytest.mark.slow
def test_a_message_is_hidden_for_twelve_hours_from_its_receive_at_most(sqs, url):
    send(sqs, url)
    handle = receive(sqs, url)[0]["ReceiptHandle"]
    time.sleep(1.1)
    assert refused(sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=43_200) == (
        "InvalidParameterValue",
        400,
    )


# Dead letters


@pytest.fixture
def pair(sqs, make):
    """A queue that gives up after two receives, and its dead-letter queue."""
    dead = make()
    policy = {"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 2}
    return make(RedrivePolicy=json.dumps(policy)), dead


def exhaust(sqs, url):
    for _ in range(3):
        receive(sqs, url, VisibilityTimeout=0)


def test_a_message_moves_at_the_receive_after_the_last_and_not_before(sqs, pair):
    live, dead = pair
    sent = send(sqs, live, MessageAttributes={"x": text("1")})
    for _ in range(2):
        assert bodies(receive(sqs, live, VisibilityTimeout=0)) == ["a"]
    assert receive(sqs, dead) == []
    assert receive(sqs, live, VisibilityTimeout=0) == []
    (letter,) = receive(sqs, dead, AttributeNames=["All"], MessageAttributeNames=["All"])
    assert letter["MessageId"] == sent["MessageId"]
    assert letter["MessageAttributes"] == {"x": text("1")}
    assert letter["Attributes"]["DeadLetterQueueSourceArn"] == arn(sqs, live)


def test_receives_are_counted_across_queues(sqs, pair):
    live, dead = pair
    send(sqs, live)
    exhaust(sqs, live)
    (letter,) = receive(sqs, dead, AttributeNames=["ApproximateReceiveCount"])
    assert letter["Attributes"] == {"ApproximateReceiveCount": "3"}


def test_a_dead_letter_keeps_its_send_time(sqs, pair):
    live, dead = pair
    send(sqs, live)
    (first,) = receive(sqs, live, VisibilityTimeout=0, AttributeNames=["SentTimestamp"])
    exhaust(sqs, live)
    (letter,) = receive(sqs, dead, AttributeNames=["SentTimestamp"])
    assert letter["Attributes"] == first["Attributes"]


def test_the_sources_of_a_dead_letter_queue_are_listed(sqs, pair):
    live, dead = pair
    assert sqs.list_dead_letter_source_queues(QueueUrl=dead)["queueUrls"] == [live]


@pytest.mark.parametrize("case", ["missing", "kind", "count"])
def test_a_redrive_policy_that_cannot_work_is_refused(sqs, url, fifo, case):
    target, count = arn(sqs, url), 2
    if case == "missing":
        target += "-missing"
    elif case == "kind":
        target = arn(sqs, fifo)
    else:
        count = 1001
    policy = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": count})
    assert refused(sqs.set_queue_attributes, QueueUrl=url, Attributes={"RedrivePolicy": policy}) == (
        "InvalidParameterValue",
        400,
    )


def test_a_move_task_brings_dead_letters_back_as_new_messages(sqs, pair):
    live, dead = pair
    sent = send(sqs, live)
    exhaust(sqs, live)
    sqs.start_message_move_task(SourceArn=arn(sqs, dead))
    (back,) = receive(sqs, live, WaitTimeSeconds=2, AttributeNames=["All"])
    assert back["Body"] == "a"
    assert back["MessageId"] != sent["MessageId"]
    assert back["Attributes"]["ApproximateReceiveCount"] == "1"
    (task,) = sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"]
    assert (task["Status"], task["ApproximateNumberOfMessagesMoved"]) == ("COMPLETED", 1)
    assert "TaskHandle" not in task


def test_a_move_task_goes_where_it_is_told_though_nothing_is_there_yet(sqs, pair, url):
    live, dead = pair
    send(sqs, live)
    exhaust(sqs, live)
    sqs.start_message_move_task(SourceArn=arn(sqs, dead), DestinationArn=arn(sqs, url))
    (moved,) = receive(sqs, url, WaitTimeSeconds=2)
    assert moved["Body"] == "a"
    assert receive(sqs, live) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=moved["ReceiptHandle"])
    (task,) = sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"]
    assert task["DestinationArn"] == arn(sqs, url)


def test_a_move_task_with_a_rate_can_be_cancelled(sqs, pair):
    live, dead = pair
    for _ in range(3):
        send(sqs, live)
    exhaust(sqs, live)
    task = sqs.start_message_move_task(SourceArn=arn(sqs, dead), MaxNumberOfMessagesPerSecond=1)
    assert refused(sqs.start_message_move_task, SourceArn=arn(sqs, dead))[0] == "UnsupportedOperation"
    moved = sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])["ApproximateNumberOfMessagesMoved"]
    assert moved in {0, 1}
    (listed,) = sqs.list_message_move_tasks(SourceArn=arn(sqs, dead))["Results"]
    assert listed["Status"] == "CANCELLED"
    with pytest.raises(sqs.exceptions.ResourceNotFoundException):
        sqs.cancel_message_move_task(TaskHandle=task["TaskHandle"])


def test_only_a_dead_letter_queue_can_be_moved(sqs, url):
    assert refused(sqs.start_message_move_task, SourceArn=arn(sqs, url)) == ("InvalidParameterValue", 400)


# FIFO


def post(sqs, fifo, group, body, dedup=None):
    return send(sqs, fifo, body, MessageGroupId=group, MessageDeduplicationId=dedup or f"{group}{body}")


def test_a_fifo_queue_keeps_the_order_within_a_group_and_locks_it(sqs, fifo):
    for body in "123":
        post(sqs, fifo, "g", body)
    first = receive(sqs, fifo, MaxNumberOfMessages=2)
    assert bodies(first) == ["1", "2"]
    assert receive(sqs, fifo) == []
    post(sqs, fifo, "h", "x")
    assert bodies(receive(sqs, fifo)) == ["x"]
    for message in first:
        sqs.delete_message(QueueUrl=fifo, ReceiptHandle=message["ReceiptHandle"])
    assert bodies(receive(sqs, fifo)) == ["3"]


def test_a_released_fifo_message_is_first_again(sqs, fifo):
    for body in "123":
        post(sqs, fifo, "g", body)
    (first,) = receive(sqs, fifo, MaxNumberOfMessages=1)
    sqs.change_message_visibility(QueueUrl=fifo, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    assert bodies(receive(sqs, fifo)) == ["1", "2", "3"]


def test_a_duplicate_is_accepted_and_not_stored(sqs, fifo):
    first, second = post(sqs, fifo, "g", "1", "d"), post(sqs, fifo, "g", "2", "d")
    assert first["MessageId"] == second["MessageId"]
    assert first["SequenceNumber"] == second["SequenceNumber"]
    assert bodies(receive(sqs, fifo)) == ["1"]


def test_a_duplicate_is_one_even_after_its_original_was_deleted(sqs, fifo):
    post(sqs, fifo, "g", "1", "d")
    sqs.delete_message(QueueUrl=fifo, ReceiptHandle=receive(sqs, fifo)[0]["ReceiptHandle"])
    post(sqs, fifo, "g", "1", "d")
    assert receive(sqs, fifo) == []


def test_content_based_deduplication_goes_by_the_body(sqs, make):
    url = make(FifoQueue="true", ContentBasedDeduplication="true")
    for body in ("a", "a", "b"):
        send(sqs, url, body, MessageGroupId="g")
    got = receive(sqs, url, AttributeNames=["MessageDeduplicationId"])
    assert bodies(got) == ["a", "b"]
    assert got[0]["Attributes"] == {"MessageDeduplicationId": hashlib.sha256(b"a").hexdigest()}


def test_deduplication_by_group_lets_groups_have_the_same_id(sqs, make):
    url = make(FifoQueue="true", DeduplicationScope="messageGroup", FifoThroughputLimit="perMessageGroupId")
    for group in "ab":
        post(sqs, url, group, "x", "same")
    assert len(receive(sqs, url)) == 2


def test_sequence_numbers_grow_and_are_20_digits(sqs, fifo):
    numbers = [post(sqs, fifo, "g", body)["SequenceNumber"] for body in "123"]
    assert all(len(number) == 20 for number in numbers)
    assert sorted(numbers) == numbers
    got = receive(sqs, fifo, AttributeNames=["All"])
    assert [message["Attributes"]["SequenceNumber"] for message in got] == numbers


@pytest.mark.parametrize("case", ["no group", "no deduplication id", "delay"])
def test_a_fifo_send_that_lacks_something_or_has_a_delay_is_refused(sqs, fifo, case):
    more, code = {
        "no group": ({"MessageDeduplicationId": "d"}, "MissingParameter"),
        "no deduplication id": ({"MessageGroupId": "g"}, "InvalidParameterValue"),
        "delay": ({"MessageGroupId": "g", "MessageDeduplicationId": "d", "DelaySeconds": 1}, "InvalidParameterValue"),
    }[case]
    assert refused(sqs.send_message, QueueUrl=fifo, MessageBody="a", **more) == (code, 400)


def test_an_attempt_that_is_repeated_gets_the_same_messages_and_handles(sqs, fifo):
    post(sqs, fifo, "g", "1")
    first, again = (receive(sqs, fifo, ReceiveRequestAttemptId="attempt") for _ in range(2))
    assert bodies(again) == ["1"]
    assert first[0]["ReceiptHandle"] == again[0]["ReceiptHandle"]
    assert receive(sqs, fifo, ReceiveRequestAttemptId="another") == []


def test_an_expired_handle_on_a_fifo_queue_is_an_error(sqs, fifo):
    post(sqs, fifo, "g", "1")
    handle = receive(sqs, fifo, VisibilityTimeout=0)[0]["ReceiptHandle"]
    assert refused(sqs.delete_message, QueueUrl=fifo, ReceiptHandle=handle) == ("InvalidParameterValue", 400)


def test_a_fifo_dead_letter_keeps_its_group(sqs, make):
    dead = make(FifoQueue="true")
    policy = json.dumps({"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 1})
    live = make(FifoQueue="true", RedrivePolicy=policy)
    sent = post(sqs, live, "g", "1")
    exhaust(sqs, live)
    (letter,) = receive(sqs, dead, AttributeNames=["All"])
    assert letter["Attributes"]["MessageGroupId"] == "g"
    assert letter["Attributes"]["MessageDeduplicationId"] == sent["MessageId"]
