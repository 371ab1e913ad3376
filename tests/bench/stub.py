"""A stub of SQS that does as little as an SQS can: what is measured is the client, and not the server.

    python -m tests.bench.stub --port 9000

It speaks the JSON protocol of AWS, which every contestant speaks. It answers at once; only a receive from an empty
queue waits, as long as it asks for. A queue comes to be when it is named. Signatures are not checked. `GET
/_control/requests` and `…/entries` say how many there were of each operation, `…/queues` what is left.
"""

import argparse
import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate

import httptools
import msgspec

from tests.bench.stub_queue import Entry, Message, Queue, Request, message_id

try:
    from uvloop import new_event_loop
except ImportError:  # slower; the benchmark installs it, the tests may do without
    from asyncio import new_event_loop

ACCOUNT = "000000000000"

_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


class Stub:
    """The queues, the operations, and what was counted."""

    def __init__(self, host: str, port: int) -> None:
        self.root = f"http://{host}:{port}"
        self.queues: dict[str, Queue] = {}
        self.requests: Counter[str] = Counter()
        self.entries: Counter[str] = Counter()
        self._sent = 0
        self._operations: dict[str, Callable[[Connection, Request], bytes | None]] = {
            "SendMessage": self._send,
            "SendMessageBatch": self._send_batch,
            "ReceiveMessage": self._receive,
            "DeleteMessage": self._delete,
            "DeleteMessageBatch": self._delete_batch,
            "ChangeMessageVisibility": self._change,
            "ChangeMessageVisibilityBatch": self._change_batch,
            "GetQueueUrl": self._url,
            "GetQueueAttributes": self._attributes,
        }

    def handle(self, connection: "Connection", operation: str, body: bytes) -> bytes | None:
        """Return the answer, or None if it comes later."""
        self.requests[operation] += 1
        return self._operations[operation](connection, _decode(body))

    def control(self, path: str) -> bytes:
        match path:
            case "/_control/requests":
                return _encode(self.requests)
            case "/_control/entries":
                return _encode({**self.entries, "ReceiveMessage": sum(q.received for q in self.queues.values())})
            case _:
                return _encode(
                    {
                        name: {"visible": len(q.waiting), "in_flight": len(q.in_flight)}
                        for name, q in self.queues.items()
                    }
                )

    def _queue(self, request: Request) -> Queue:
        name = request.url.rpartition("/")[2]
        return self.queues.setdefault(name, Queue())

    def _stored(self, queue: Queue, operation: str, entry: Entry) -> Message:
        self.entries[operation] += 1
        self._sent += 1
        return queue.store(self._sent, entry)

    def _send(self, _: "Connection", request: Request) -> bytes:
        queue = self._queue(request)
        message = self._stored(queue, "SendMessage", request)
        queue.hand_out()
        return f'{{"MessageId":"{message_id(message.number)}","MD5OfMessageBody":"{message.md5}"}}'.encode()

    def _send_batch(self, _: "Connection", request: Request) -> bytes:
        queue = self._queue(request)
        stored = [(entry.id, self._stored(queue, "SendMessageBatch", entry)) for entry in request.entries]
        queue.hand_out()
        successful = ",".join(
            f'{{"Id":"{entry_id}","MessageId":"{message_id(message.number)}","MD5OfMessageBody":"{message.md5}"}}'
            for entry_id, message in stored
        )
        return f'{{"Successful":[{successful}],"Failed":[]}}'.encode()

    def _receive(self, connection: "Connection", request: Request) -> bytes | None:
        queue = self._queue(request)
        if not queue.waiting and request.wait > 0:
            queue.wait(connection, request.limit, request.wait)
            return None
        return queue.take(request.limit)

    def _delete(self, _: "Connection", request: Request) -> bytes:
        self.entries["DeleteMessage"] += 1
        self._queue(request).in_flight.pop(request.receipt, None)
        return b"{}"

    def _delete_batch(self, _: "Connection", request: Request) -> bytes:
        queue = self._queue(request)
        self.entries["DeleteMessageBatch"] += len(request.entries)
        for entry in request.entries:
            queue.in_flight.pop(entry.receipt, None)
        return successes(request.entries)

    def _change(self, _: "Connection", request: Request) -> bytes:
        self.entries["ChangeMessageVisibility"] += 1
        self._queue(request).release(request)
        return b"{}"

    def _change_batch(self, _: "Connection", request: Request) -> bytes:
        queue = self._queue(request)
        self.entries["ChangeMessageVisibilityBatch"] += len(request.entries)
        for entry in request.entries:
            queue.release(entry)
        return successes(request.entries)

    def _url(self, _: "Connection", request: Request) -> bytes:
        return _encode({"QueueUrl": f"{self.root}/{ACCOUNT}/{request.name}"})

    def _attributes(self, _: "Connection", request: Request) -> bytes:
        queue, name = self._queue(request), request.url.rpartition("/")[2]
        return _encode(
            {
                "Attributes": {
                    "QueueArn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}",
                    "ApproximateNumberOfMessages": str(len(queue.waiting)),
                    "ApproximateNumberOfMessagesNotVisible": str(len(queue.in_flight)),
                    "ApproximateNumberOfMessagesDelayed": "0",
                    "VisibilityTimeout": "30",
                    "MaximumMessageSize": "1048576",
                    "MessageRetentionPeriod": "345600",
                }
            }
        )


class Connection(asyncio.Protocol):
    """One client. It sends the next request when it has its answer, as all clients here do."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._path = b""
        self._target = b""
        self._body: list[bytes] = []

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path, self._target, self._body = b"", b"", []

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 12 and name.lower() == b"x-amz-target":
            self._target = value

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._path.startswith(b"/_control/"):
            self.answer(self._stub.control(self._path.decode()))
            return
        operation = self._target.rpartition(b".")[2].decode()
        answer = self._stub.handle(self, operation, b"".join(self._body))
        if answer is not None:
            self.answer(answer)

    def answer(self, body: bytes) -> None:
        if self._transport is not None:
            self._transport.write(head(len(body)) + body)


_date = (0, b"")


def head(length: int) -> bytes:
    """Return a response's head. The date is written once a second."""
    global _date  # noqa: PLW0603 - a cache of one
    second = int(time.time())
    if second != _date[0]:
        start = (
            f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nDate: {formatdate(second, usegmt=True)}"
        )
        _date = (second, f"{start}\r\nx-amzn-RequestId: stub\r\nContent-Length: ".encode())
    return b"%b%d\r\n\r\n" % (_date[1], length)


def successes(entries: list[Entry]) -> bytes:
    done = ",".join(f'{{"Id":"{entry.id}"}}' for entry in entries)
    return f'{{"Successful":[{done}],"Failed":[]}}'.encode()


async def serve(host: str, port: int) -> None:
    """Serve until SIGTERM."""
    stub, stop = Stub(host, port), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(lambda: Connection(stub), host, port, backlog=1024)
    await stop.wait()
    server.close()


def main() -> None:
    """Read the port, and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve("127.0.0.1", port))


if __name__ == "__main__":
    main()
