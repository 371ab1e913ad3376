"""How fast the SQS server is, and what a message costs: `python tests/bench/sqs_server.py [--backlog 1000000]`.

The server runs on one core and a raw client on another. Prints a table; the exit status is 1 if a target is missed.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

BODY = "x" * 200
SIGNED = (
    "Authorization: AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, "
    "Signature=0\r\nX-Amz-Date: 20260101T000000Z\r\nContent-Type: application/x-amz-json-1.0\r\nHost: localhost\r\n"
)


class Client:
    """One connection, blocking; as little work per request as Python allows."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def ask(self, operation: str, **parameters: object) -> None:
        body = json.dumps(parameters).encode()
        head = f"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.{operation}\r\n{SIGNED}Content-Length: {len(body)}\r\n\r\n"
        self.socket.sendall(head.encode() + body)

    def answer(self) -> dict:
        data = self.socket.recv(65536)
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), data
        length = int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        return json.loads(body) if body else {}

    def call(self, operation: str, **parameters: object) -> dict:
        self.ask(operation, **parameters)
        return self.answer()

    def _more(self) -> bytes:
        more = self.socket.recv(65536)
        assert more, "the server closed the connection"
        return more


@contextmanager
def server(core: int | None) -> Iterator[tuple[subprocess.Popen, int, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port), "--queue", "bench"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "# Stop it with Ctrl-C. Its messages are in memory and end with it.\n")
        said = dict(line.removeprefix("export ").strip().partition("=")[::2] for line in lines if line)
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        yield process, port, said["DAWDLE_SQS_QUEUE_URL"]
    finally:
        process.terminate()
        process.wait(30)


def batch() -> list[dict]:
    return [{"Id": str(number), "MessageBody": BODY} for number in range(10)]


def fill(client: Client, url: str, messages: int) -> float:
    """Send `messages`; return messages per second."""
    entries = batch()
    started = time.perf_counter()
    for _ in range(messages // 10):
        client.call("SendMessageBatch", QueueUrl=url, Entries=entries)
    return messages / (time.perf_counter() - started)


def cycle(client: Client, url: str, rounds: int) -> tuple[float, float]:
    """Send ten, receive ten, delete ten, over and over; return messages per second sent, and received and deleted."""
    entries = batch()
    sending = receiving = 0.0
    for _ in range(rounds):
        started = time.perf_counter()
        client.call("SendMessageBatch", QueueUrl=url, Entries=entries)
        sent = time.perf_counter()
        got = client.call("ReceiveMessage", QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert len(got) == 10
        handles = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(got)]
        answer = client.call("DeleteMessageBatch", QueueUrl=url, Entries=handles)
        done = time.perf_counter()
        assert len(answer["Successful"]) == 10
        sending += sent - started
        receiving += done - sent
    return rounds * 10 / sending, rounds * 10 / receiving


def wake(port: int, url: str, rounds: int) -> list[float]:
    """Return, in ascending order, the milliseconds from a send to the answer of the poll that waited for it."""
    took = []
    with Client(port) as sender, Client(port) as receiver:
        for _ in range(rounds):
            receiver.ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
            time.sleep(0.005)
            started = time.perf_counter()
            sender.ask("SendMessage", QueueUrl=url, MessageBody=BODY)
            (got,) = receiver.answer()["Messages"]
            took.append((time.perf_counter() - started) * 1000)
            sender.answer()
            receiver.call("DeleteMessage", QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
    return sorted(took)


def idle_polls(process: subprocess.Popen, port: int, url: str, polls: int, seconds: float) -> float:
    """Return the server's seconds of CPU per second while `polls` long polls wait."""
    with ExitStack() as stack:
        for _ in range(polls):
            stack.enter_context(Client(port)).ask("ReceiveMessage", QueueUrl=url, WaitTimeSeconds=20)
        time.sleep(1)
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        return (cpu_seconds(process.pid) - before) / seconds


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Return the bytes of memory that a process holds."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=2_000)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    rows: list[tuple[str, str, str, bool]] = []

    def row(what: str, value: float, unit: str, target: str, met: bool) -> None:
        rows.append((what, f"{value:,.2f} {unit}" if value < 100 else f"{value:,.0f} {unit}", target, met))

    with server(cores[-1] if len(cores) > 1 else None) as (process, port, url), Client(port) as client:
        cycle(client, url, 200)
        idle = idle_polls(process, port, url, 1_000, 5.0)
        row("CPU of 1,000 idle long polls", idle * 100, "%", "<= 1 %", idle <= 0.01)
        client.call("CreateQueue", QueueName="wake")
        woken = wake(port, url.replace("/bench", "/wake"), 200)
        row("send to waiting poll, median", statistics.median(woken), "ms", "<= 5 ms", statistics.median(woken) <= 5)
        row("send to waiting poll, 99 of 100", woken[197], "ms", "", True)  # the machine's own pauses are in it
        client.call("CreateQueue", QueueName="small")
        client.call("CreateQueue", QueueName="large")
        small, large = (url.replace("/bench", name) for name in ("/small", "/large"))
        before = memory(process.pid)
        rate = fill(client, large, options.backlog)
        row(f"sent, growing to {options.backlog:,} waiting", rate, "msgs/s", ">= 10,000", rate >= 10_000)
        each = (memory(process.pid) - before) / options.backlog - len(BODY)
        row("memory per waiting message beyond its body", each, "bytes", "<= 1,536", each <= 1_536)
        # By turns, so that what else runs on the machine slows both; medians of five.
        turns = [(*cycle(client, small, options.rounds), *cycle(client, large, options.rounds)) for _ in range(5)]
        sent, received, many_sent, many_received = (statistics.median(column) for column in zip(*turns, strict=True))
        for waiting, rate in (("10", sent), (f"{options.backlog:,}", many_sent)):
            row(f"sent, {waiting} waiting", rate, "msgs/s", ">= 10,000", rate >= 10_000)
        for waiting, rate in (("10", received), (f"{options.backlog:,}", many_received)):
            row(f"received and deleted, {waiting} waiting", rate, "msgs/s", ">= 10,000", rate >= 10_000)
        flat = max(sent / many_sent, received / many_received)
        row("slower with the backlog by", flat, "x", "<= 1.5", flat <= 1.5)

    wide = max(len(what) for what, *_ in rows)
    for what, value, target, met in rows:
        print(f"{what:<{wide}}  {value:>16}  {target:<10}  {('ok' if met else 'MISSED') if target else ''}")
    return 0 if all(met for *_, met in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
