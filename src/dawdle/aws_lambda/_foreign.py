"""Reads the events of AWS's own services as events of your types, where you declare one for them.

    foreign=[s3(Uploaded, "ObjectCreated:*"), eventbridge(OrderPlaced, "Order Placed"), sns(PriceChanged, "prices")]

They come in the body of an SQS message, one in the other where SNS is in between, or the function is invoked with them.
Each becomes a CloudEvent, so that its copies are read as every other message is.
"""

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal, cast
from urllib.parse import unquote_plus

import msgspec

from dawdle.errors import ConfigurationError, EventError, one_line, shown
from dawdle.events import require_event_type, wire_name

__all__ = ["Foreign", "ForeignEvent", "Reader", "eventbridge", "s3", "sns"]

Service = Literal["s3", "eventbridge", "sns"]

_DECLARE: Final = {
    "s3": "dawdle.aws_lambda.s3(YourType, {name!r})",
    "eventbridge": "dawdle.aws_lambda.eventbridge(YourType, {name!r})",
    "sns": "dawdle.aws_lambda.sns(YourType, {name!r})",
}


class Foreign(msgspec.Struct, frozen=True):
    """Which events of a service are read as which type. Made by `s3`, `eventbridge` and `sns`."""

    service: Service
    event_type: type[object]
    name: str
    """A pattern for the name of the event: `*` and `?` stand for any text and any character."""
    where: str = "*"
    """A pattern for where it comes from: a bucket, the source of an EventBridge event."""

    def matches(self, event: "ForeignEvent") -> bool:
        """Whether an event is read as this type."""
        return (
            event.service == self.service
            and fnmatchcase(event.name, self.name)
            and fnmatchcase(event.where, self.where)
        )


class ForeignEvent(msgspec.Struct, frozen=True):
    """One event of a service of AWS."""

    service: Service
    name: str
    where: str
    id: str
    source: str
    subject: str | None
    time: str | None
    data: object

    def __repr__(self) -> str:
        """Show no data: it is the user's."""
        return f"<{self.label}>"

    @property
    def label(self) -> str:
        """What it is, as a log line and an error show it."""
        return one_line(f"{self.service} event {self.name!r} from {self.where}")

    def body(self, event_type: type[object]) -> bytes:
        """Return it as a CloudEvent of a type."""
        attributes = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": wire_name(event_type),
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return msgspec.json.encode({name: value for name, value in attributes.items() if value is not None})


def s3(event_type: type[object], event_name: str = "ObjectCreated:*", *, bucket: str = "*") -> Foreign:
    """Read S3's notifications as a type: `event_name` such as `ObjectCreated:*` or `ObjectRemoved:Delete`.

    The fields: `bucket`, `key` (decoded: S3 writes a space as `+`), `size`, `etag`, `version_id`, `sequencer`, `event`,
    `region`. A type may have some of them. `bucket` may be a pattern, too. Raises `NotAnEventError`.
    """
    return Foreign("s3", require_event_type(event_type), _pattern(event_name), _pattern(bucket))


def eventbridge(event_type: type[object], detail_type: str, *, source: str = "*") -> Foreign:
    """Read EventBridge's events with this `detail-type` as a type; its fields are those of `detail`.

    `source`: such as "aws.ec2" or "shop.*". Raises `NotAnEventError`.
    """
    return Foreign("eventbridge", require_event_type(event_type), _pattern(detail_type), _pattern(source))


def sns(event_type: type[object], topic: str = "*") -> Foreign:
    """Read the messages of an SNS topic, named by its name, as a type.

    The fields are those of the message, a JSON object; of any other text `message` and `subject`. An event of S3 or
    EventBridge, and a CloudEvent, is read as such where it comes by way of a topic. Raises `NotAnEventError`.
    """
    return Foreign("sns", require_event_type(event_type), _pattern(topic))


def _pattern(given: object) -> str:
    if isinstance(given, str) and given:
        return given
    raise ConfigurationError(f"the name of a foreign event is text such as 'ObjectCreated:*', not {shown(given)}")


# What AWS writes, as far as it is read: S3 user guide, "Event message structure"; EventBridge user guide, "Events";
# SNS developer guide, "HTTP/HTTPS notification JSON format", 2026.

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _S3Object(msgspec.Struct, rename="camel"):
    key: str
    size: int = 0
    e_tag: str = ""
    version_id: str = ""
    sequencer: str = ""


class _S3Bucket(msgspec.Struct):
    name: _Text


class _S3Entity(msgspec.Struct):
    bucket: _S3Bucket
    object: _S3Object


class _S3Record(msgspec.Struct, rename="camel"):
    event_name: _Text
    s3: _S3Entity
    aws_region: str = ""
    event_time: str | None = None
    response_elements: dict[str, str] | None = None


class _EventBridge(msgspec.Struct, rename="kebab"):
    id: _Text
    detail_type: _Text
    source: _Text
    detail: Any
    time: str | None = None


class _Notification(msgspec.Struct, rename="pascal"):
    message_id: _Text
    topic_arn: _Text
    message: str
    subject: str | None = None
    timestamp: str | None = None


class Reader:
    """Reads foreign events by what a user has declared."""

    def __init__(self, declared: Sequence[Foreign]) -> None:
        for each in declared:
            if not isinstance(cast("object", each), Foreign):
                raise ConfigurationError(
                    f"foreign= is a list of dawdle.aws_lambda.s3(…), eventbridge(…) and sns(…), not of {shown(each)}"
                )
        self._declared = tuple(declared)

    def bodies(self, body: str, message_id: str) -> list[bytes] | None:
        """Return the CloudEvents in the body of an SQS message; None: it is none of AWS's, and stays as it was sent.

        The list is empty for S3's test event, which says nothing. Raises `EventError` for an event of AWS for which no
        type is declared.
        """
        # What dawdle writes, and every other CloudEvent, is told by one search, and not parsed here. Inside of an SNS
        # notification, these quotes are escaped.
        if '"specversion"' in body:
            return None
        try:
            parsed: object = json.loads(body)
        except ValueError:
            return None
        inner = _cloudevent_in(parsed)
        if inner is not None:
            return [inner]
        found = _events_in(parsed, message_id)
        return None if found is None else [event.body(self.type_of(event)) for event in found]

    def invoked_with(self, event: object, request_id: str) -> list[tuple[type[object], ForeignEvent]]:
        """Return the events that a function was invoked with, and the type of each."""
        return [(self.type_of(each), each) for each in _events_in(event, request_id) or ()]

    def type_of(self, event: ForeignEvent) -> type[object]:
        """Return the type that is declared for an event. Raises `EventError` if none is."""
        for each in self._declared:
            if each.matches(event):
                return each.event_type
        declare = _DECLARE[event.service].format(name=event.name)
        raise EventError(
            f"no type is declared for the {event.label}: write dawdle.aws_lambda.handler(app, foreign=[{declare}])"
        )


def _events_in(parsed: object, fallback_id: str) -> list[ForeignEvent] | None:
    """Return the events of AWS in a JSON value; None: it is none of these, or not as AWS writes it."""
    if not isinstance(parsed, dict):
        return None
    fields = cast("dict[str, object]", parsed)
    try:
        if fields.get("Event") == "s3:TestEvent":
            return []
        if isinstance(fields.get("Records"), list):
            return _of_records(cast("list[object]", fields["Records"]), fallback_id)
        if {"detail-type", "source", "detail", "id"} <= fields.keys():
            return [_of_eventbridge(msgspec.convert(fields, _EventBridge))]
        if fields.get("Type") == "Notification" and "TopicArn" in fields:
            return _of_sns(msgspec.convert(fields, _Notification))
    except msgspec.ValidationError:
        pass
    return None


def _of_records(records: Sequence[object], fallback_id: str) -> list[ForeignEvent] | None:
    found: list[ForeignEvent] = []
    for number, record in enumerate(records):
        fields = cast("dict[str, object]", record) if isinstance(record, dict) else {}
        if fields.get("eventSource") == "aws:s3":
            found.append(_of_s3(msgspec.convert(record, _S3Record), f"{fallback_id}.{number}"))
        elif fields.get("EventSource") == "aws:sns":
            found += _of_sns(msgspec.convert(fields.get("Sns"), _Notification))
        else:
            return None
    return found


def _of_s3(record: _S3Record, fallback_id: str) -> ForeignEvent:
    stored, bucket = record.s3.object, record.s3.bucket.name
    key = unquote_plus(stored.key)
    # One request may delete many objects: its id and the object's place in the order of changes name the event.
    request = (record.response_elements or {}).get("x-amz-request-id", "")
    return ForeignEvent(
        service="s3",
        name=record.event_name,
        where=bucket,
        id=".".join(filter(None, (request, stored.sequencer))) or fallback_id,
        source=f"aws:s3.{record.aws_region}.{bucket}",  # as the CloudEvents adapter for S3 has it
        subject=key or None,
        time=record.event_time,
        data={
            "bucket": bucket,
            "key": key,
            "size": stored.size,
            "etag": stored.e_tag,
            "version_id": stored.version_id,
            "sequencer": stored.sequencer,
            "event": record.event_name,
            "region": record.aws_region,
        },
    )


def _of_eventbridge(event: _EventBridge) -> ForeignEvent:
    return ForeignEvent(
        service="eventbridge",
        name=event.detail_type,
        where=event.source,
        id=event.id,
        source=event.source,
        subject=None,
        time=event.time,
        data=event.detail,
    )


def _of_sns(notification: _Notification) -> list[ForeignEvent]:
    """Return the events in a notification: those of S3 or EventBridge if it carries one of theirs, else itself."""
    text = notification.message
    try:
        parsed: object = json.loads(text)
    except ValueError:
        parsed = None
    inner = _events_in(parsed, notification.message_id)
    if inner is not None:
        return inner
    fields = {"message": text, "subject": notification.subject or ""}
    return [
        ForeignEvent(
            service="sns",
            name=notification.topic_arn.rpartition(":")[2],
            where="*",
            id=notification.message_id,
            source=notification.topic_arn,
            subject=notification.subject,
            time=notification.timestamp,
            data=cast("object", parsed) if isinstance(parsed, dict) else fields,
        )
    ]


def _cloudevent_in(parsed: object) -> bytes | None:
    """Return the CloudEvent that an SNS notification carries, as it was published."""
    fields = cast("dict[str, object]", parsed) if isinstance(parsed, dict) else {}
    text = fields.get("Message")
    if fields.get("Type") != "Notification" or not isinstance(text, str) or '"specversion"' not in text:
        return None
    return text.encode()
