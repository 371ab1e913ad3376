"""The queues of the stub: messages that wait, messages in flight, and receives that wait for messages.

A message stays until it is deleted. Its lease does not end and a delay is not kept: no row of the benchmark needs them.
"""

import asyncio
import hashlib
import time
from collections import deque
from typing import Protocol

import msgspec

_encode = msgspec.json.Encoder().encode


class Receiver(Protocol):
    """Who waits for messages."""

    @property
    def is_open(self) -> bool: ...

    def answer(self, body: bytes) -> None: ...


class Entry(msgspec.Struct):
    """One entry of any batch, or the fields of the operation for one message."""

    id: str = msgspec.field(name="Id", default="")
    body: str = msgspec.field(name="MessageBody", default="")
    attributes: msgspec.Raw = msgspec.field(name="MessageAttributes", default_factory=lambda: msgspec.Raw(b""))
    receipt: str = msgspec.field(name="ReceiptHandle", default="")
    visibility: int = msgspec.field(name="VisibilityTimeout", default=-1)


class Request(Entry):
    """The fields of every operation that the stub knows."""

    url: str = msgspec.field(name="QueueUrl", default="")
    name: str = msgspec.field(name="QueueName", default="")
    entries: list[Entry] = msgspec.field(name="Entries", default_factory=list)
    limit: int = msgspec.field(name="MaxNumberOfMessages", default=1)
    wait: float = msgspec.field(name="WaitTimeSeconds", default=0)


class Message(msgspec.Struct):
    """A stored message, written once and sent out as it is."""

    number: int
    md5: str
    fields: bytes
    """Body and attributes, in JSON."""

    sent_ms: int
    receives: int = 0


class Queue:
    """Messages that wait, messages in flight, and receives that wait for messages."""

    def __init__(self) -> None:
        self.received = 0
        self.waiting: deque[Message] = deque()
        self.in_flight: dict[str, Message] = {}
        self.receives: deque[tuple[Receiver, int, asyncio.TimerHandle]] = deque()

    def store(self, number: int, entry: Entry) -> Message:
        fields = b',"Body":' + _encode(entry.body)
        if entry.attributes:
            fields += b',"MessageAttributes":' + bytes(entry.attributes)
        md5 = hashlib.md5(entry.body.encode(), usedforsecurity=False).hexdigest()
        message = Message(number, md5, fields, int(time.time() * 1000))
        self.waiting.append(message)
        return message

    def take(self, limit: int) -> bytes:
        """Return the answer with as many messages as there are, up to the limit."""
        found = [self._sent_out(self.waiting.popleft()) for _ in range(min(limit, len(self.waiting)))]
        return b'{"Messages":[' + b",".join(found) + b"]}" if found else b"{}"

    def _sent_out(self, message: Message) -> bytes:
        message.receives += 1
        self.received += 1
        receipt = f"r-{message.number}-{message.receives}"
        self.in_flight[receipt] = message
        return (
            (
                f'{{"MessageId":"{message_id(message.number)}","ReceiptHandle":"{receipt}","MD5OfBody":"{message.md5}",'
                f'"Attributes":{{"SentTimestamp":"{message.sent_ms}","ApproximateReceiveCount":"{message.receives}",'
                f'"ApproximateFirstReceiveTimestamp":"{message.sent_ms}","SenderId":"stub"}}'
            ).encode()
            + message.fields
            + b"}"
        )

    def wait(self, receiver: Receiver, limit: int, seconds: float) -> None:
        """Answer a receive when there are messages, or with none when its time is over."""
        timer = asyncio.get_running_loop().call_later(seconds, self._give_up, receiver)
        self.receives.append((receiver, limit, timer))

    def _give_up(self, receiver: Receiver) -> None:
        self.receives = deque(each for each in self.receives if each[0] is not receiver)
        if receiver.is_open:
            receiver.answer(b"{}")

    def hand_out(self) -> None:
        """Answer the receives that wait, as far as there are messages."""
        while self.waiting and self.receives:
            connection, limit, timer = self.receives.popleft()
            timer.cancel()
            if connection.is_open:
                connection.answer(self.take(limit))

    def release(self, entry: Entry) -> None:
        if entry.visibility == 0 and (message := self.in_flight.pop(entry.receipt, None)) is not None:
            self.waiting.append(message)
            self.hand_out()


def message_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"
