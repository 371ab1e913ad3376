"""Reads the events of AWS's own services as events of your types, where you declare one for them.

    foreign=[s3(Uploaded, "ObjectCreated:*"), eventbridge(OrderPlaced, "Order Placed"), sns(PriceChanged, "prices")]

They come in the body of an SQS message, one in the other where SNS is in between, or the function is invoked with them.
Each becomes a CloudEvent, so that its copies are read as every other message is.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, cast
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
            self.service == event.service and fnmatchcase(event.name, self.name) and fnmatchcase(event.where, self.where)
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
    """Read S3's notifications as a type: `event_name` such as "ObjectCreated:*" or "ObjectRemoved:Delete".

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

    The fields are those of the message, a JSON object; of any other text `message` and `subject`. S3's and EventBridge's
    events, and CloudEvents, are read as such also where they come by way of a topic. Raises `NotAnEventError`.
    """
    return Foreign("sns", require_event_type(event_type), _pattern(topic))


def _pattern(given: object) -> str:
    if isinstance(given, str) and given:
        return given
    raise ConfigurationError(f"the name of a foreign event is text such as 'ObjectCreated:*', not {shown(given)}")


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
    """Return the events of AWS in a JSON value; None: it is none of these."""
    if not isinstance(parsed, dict):
        return None
    fields = cast("dict[str, Any]", parsed)
    if fields.get("Event") == "s3:TestEvent":
        return []
    records = fields.get("Records")
    if isinstance(records, list):
        return list(_of_records(cast("list[Any]", records), fallback_id)) or None
    if {"detail-type", "source", "detail", "id"} <= fields.keys():
        return [_of_eventbridge(fields)]
    if fields.get("Type") == "Notification" and "TopicArn" in fields:
        return _of_sns(fields)
    return None


def _of_records(records: Sequence[Any], fallback_id: str) -> Iterator[ForeignEvent]:
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            return
        fields = cast("dict[str, Any]", record)
        if fields.get("eventSource") == "aws:s3":
            yield _of_s3(fields, f"{fallback_id}.{number}")
        elif fields.get("EventSource") == "aws:sns":
            yield from _of_sns(fields.get("Sns", {}))


def _of_s3(record: Mapping[str, Any], fallback_id: str) -> ForeignEvent:
    entity: Mapping[str, Any] = record.get("s3", {})
    stored: Mapping[str, Any] = entity.get("object", {})
    bucket = str(entity.get("bucket", {}).get("name", "")) or "unknown"
    key = unquote_plus(str(stored.get("key", "")))
    name, region = str(record.get("eventName", "")), str(record.get("awsRegion", ""))
    request: Mapping[str, Any] = record.get("responseElements") or {}
    # One request may delete many objects: its id and the object's place in the order of changes name the event.
    parts = [str(each) for each in (request.get("x-amz-request-id"), stored.get("sequencer")) if each]
    return ForeignEvent(
        service="s3",
        name=name,
        where=bucket,
        id=".".join(parts) or fallback_id,
        source=f"aws:s3.{region}.{bucket}",  # as the CloudEvents adapter for S3 says
        subject=key or None,
        time=record.get("eventTime"),
        data={
            "bucket": bucket,
            "key": key,
            "size": stored.get("size", 0),
            "etag": stored.get("eTag", ""),
            "version_id": stored.get("versionId", ""),
            "sequencer": stored.get("sequencer", ""),
            "event": name,
            "region": region,
        },
    )


def _of_eventbridge(event: Mapping[str, Any]) -> ForeignEvent:
    return ForeignEvent(
        service="eventbridge",
        name=str(event["detail-type"]),
        where=str(event["source"]),
        id=str(event["id"]),
        source=str(event["source"]),
        subject=None,
        time=event.get("time"),
        data=event["detail"],
    )


def _of_sns(notification: Mapping[str, Any]) -> list[ForeignEvent]:
    """Return the events in a notification: those of S3 or EventBridge if it carries one of theirs, else itself."""
    text, topic = str(notification.get("Message", "")), str(notification.get("TopicArn", ""))
    message_id = str(notification.get("MessageId", "")) or "unknown"
    try:
        parsed: object = json.loads(text)
    except ValueError:
        parsed = None
    inner = _events_in(parsed, message_id)
    if inner is not None:
        return inner
    return [
        ForeignEvent(
            service="sns",
            name=topic.rpartition(":")[2],
            where="*",
            id=message_id,
            source=topic or "sns",
            subject=notification.get("Subject"),
            time=notification.get("Timestamp"),
            data=parsed if isinstance(parsed, dict) else {"message": text, "subject": notification.get("Subject") or ""},
        )
    ]


def _cloudevent_in(parsed: object) -> bytes | None:
    """Return the CloudEvent that an SNS notification carries, as it was published."""
    if not isinstance(parsed, dict):
        return None
    fields = cast("dict[str, Any]", parsed)
    text = fields.get("Message")
    if fields.get("Type") != "Notification" or not isinstance(text, str) or '"specversion"' not in text:
        return None
    return text.encode()
