import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from dawdle import BackendError
from dawdle.abc import Outgoing
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.backends.sqs import SQS
from dawdle.cli import _worker_port
from dawdle.cli._running import CommandError
from dawdle.cli._worker_port import Threads, WorkerPort, checked_url
from dawdle.cli.sqs._aws import AwsError
from dawdle.cli.top._cloudwatch import QueueAge
from dawdle.cli.top._queues import CountedQueue
from dawdle.cli.top._sources import open_sources
from dawdle.testing.sqs import SQSServer
from tests.cli.top.ports import health_port
from tests.cli.top.snapshots import handler, worker
from tests.ports import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture
def port():
    with health_port() as port:
        yield port


@pytest.fixture
async def file(tmp_path):
    """A queue in a file that is there."""
    async with SQLite(tmp_path / "shop.db"):
        pass
    return SQLite(tmp_path / "shop.db")


@pytest.fixture
def threads():
    with Threads(2) as threads:
        yield threads


@pytest.fixture
def asking(port, threads):
    one = WorkerPort(port.url, threads)
    yield one
    one.close()


async def test_a_worker_is_asked_over_one_connection(port, asking):
    port.says(worker(handlers=(handler(runs=7),)))
    for _ in range(3):
        await asking.ask()
    assert asking.answer.error is None
    assert asking.answer.stats[0].handlers[0].runs == 7
    assert (port.asked, port.connections) == (3, 1)


async def test_a_connection_that_the_worker_has_closed_is_made_anew(port, asking):
    port.keeps = False
    for _ in range(3):
        await asking.ask()
        assert asking.answer.error is None
    assert port.asked == 3


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (404, b"{}", "is no dawdle worker: HTTP 404 at /stats; is this its --health-port?"),
        (200, b"<html>", "is no dawdle worker"),
        (200, b'{"app": "x"}', "is no dawdle worker"),
        (200, b'[{"new": ' + b"[" * 20_000 + b"]" * 20_000 + b"}]", "is no dawdle worker"),
        (200, b'[{"rss": 1' + b"0" * 400 + b"}]", "is no dawdle worker"),
        (200, b'[{"app": "\xff"}]', "is no dawdle worker"),
    ],
)
async def test_what_is_no_worker_is_told(port, asking, status, body, text):
    port.status, port.body = status, body
    await asking.ask()
    assert text in asking.answer.error
    assert asking.answer.url == port.url


async def test_a_worker_that_is_away_is_told(threads):
    one = WorkerPort(f"http://127.0.0.1:{free_port()}", threads)
    await one.ask()
    assert one.answer.error == "does not answer: connection refused"


async def test_a_worker_that_hangs_is_told(port, asking, monkeypatch):
    monkeypatch.setattr(_worker_port, "TIMEOUT_SECONDS", 0.1)
    port.hangs = True
    await asking.ask()
    assert asking.answer.error == "does not answer within 0.1 s"


@pytest.mark.parametrize("part", ["head", "body"])
async def test_a_worker_that_answers_byte_by_byte_is_told(port, asking, monkeypatch, part):
    monkeypatch.setattr(_worker_port, "TIMEOUT_SECONDS", 0.3)
    port.drips = part
    await asking.ask()
    assert asking.answer.error == "does not answer within 0.3 s"
    port.drips = ""
    await until(lambda: answers(asking))


async def answers(asking):
    await asking.ask()
    return asking.answer.error is None


async def test_an_answer_without_an_end_is_not_kept(port, asking, monkeypatch):
    monkeypatch.setattr(_worker_port, "MAX_BYTES", 100)
    port.body = b" " * 101
    await asking.ask()
    assert asking.answer.error == "is no dawdle worker: it says more than 0 MB at /stats"


async def test_a_question_that_waits_for_a_thread_has_its_seconds_still(port, monkeypatch):
    monkeypatch.setattr(_worker_port, "TIMEOUT_SECONDS", 1.0)
    port.hangs = True
    with health_port() as other, Threads(1) as threads:
        silent, busy = WorkerPort(port.url, threads), WorkerPort(other.url, threads)
        await asyncio.gather(silent.ask(), busy.ask())
        busy.close()
    assert silent.answer.error == "does not answer within 1 s"
    assert busy.answer.error is None


async def test_one_answer_that_is_lost_is_no_news(port, asking, monkeypatch):
    await asking.ask()
    port.status = 500
    await asking.ask()
    assert asking.answer.error is None, "the last answer stands for two seconds"
    monkeypatch.setattr(_worker_port, "GRACE_SECONDS", 0.0)
    await asking.ask()
    assert asking.answer.error is not None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("host:8080", "http://host:8080"),
        ("http://host:8080/", "http://host:8080"),
        ("http://host:8080/stats", "http://host:8080"),
        ("https://host/worker", "https://host/worker"),
        ("[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_health_port_is_named_by_its_url(text, url):
    assert checked_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "ftp://host", "http://", "host:x", "host:99999", "http://host?a=b", "8080"],
)
def test_what_is_no_url_is_refused(text):
    with pytest.raises(ValueError, match=r"write|[Pp]ort"):
        checked_url(text)


@pytest.mark.parametrize("text", ["http://a..b:80", f"http://{'a' * 64}:80", "http://ho st", "host/a b", "host/\xe9"])
def test_a_url_that_no_request_can_be_sent_to_is_refused(text):
    with pytest.raises(ValueError, match=r"write"):
        checked_url(text)


async def test_a_file_is_counted_with_its_oldest_and_its_dead(tmp_path):
    async with SQLite(tmp_path / "shop.db") as backend:
        await backend.send([Outgoing(b"one"), Outgoing(b"two"), Outgoing(b"later", delay=100)])
        await backend.receive(1, 0)
        await backend.dead_letters.send([Outgoing(b"dead")])
        queue = CountedQueue("default", backend)
        await queue.ask()
    asked = queue.asked
    assert (asked.counts.waiting, asked.counts.in_flight, asked.counts.delayed, asked.dead_letters) == (1, 1, 1, 1)
    assert 0 <= asked.oldest < 30
    assert (asked.system, asked.error) == ("sqlite", None)
    assert queue.price is None


async def test_a_queue_that_takes_long_to_count_is_counted_less_often(tmp_path):
    async with SQLite(tmp_path / "shop.db") as backend:
        queue = CountedQueue("default", backend)
        await queue.ask()
        assert queue.period(0.1) < 5
        queue._seconds = 0.07  # a million messages
        assert queue.period(0.1) == pytest.approx(7)


async def test_sqs_is_asked_every_five_seconds_and_that_is_told_with_its_price(monkeypatch):
    async with SQSServer() as server:
        server.create_queue("shop", dead_letter="shop-dead")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        backend = SQS()
        async with open_sources("shop:app", {"default": backend}, [], 0.1) as sources:
            await backend.send([Outgoing(b"one"), Outgoing(b"later", delay=100)])
            await sources.ask()
            made = sources.picture()
            (queue,) = sources._queues
            assert queue.period(0.1) == 5
    (row,) = made.queues
    assert (row.waiting, row.delayed, row.in_flight, row.dead_letters, row.oldest) == (1, 1, 0, 0, None)
    assert row.system == "aws_sqs"
    # Two requests in five seconds, the queue and its dead letters, for 730 hours at $0.40 a million.
    assert made.own_dollars_per_month == pytest.approx(2 / 5 * 2_628_000 * 0.4 / 1e6)
    assert "this display asks SQS 2 questions every 5 s: $0.42 if it runs for a month" in made.notes
    assert any(note.startswith("OLDEST: SQS does not tell it") for note in made.notes)


async def test_a_queue_that_cannot_be_opened_takes_nothing_from_the_others(file, tmp_path):
    (tmp_path / "broken.db").write_bytes(b"this is no database" * 100)
    backends = {"default": file, "broken": SQLite(tmp_path / "broken.db")}
    async with open_sources(None, backends, [], 0.1) as sources:
        await sources.ask()
        made = sources.picture()
    assert {row.name: row.waiting for row in made.queues} == {"default": 0, "broken": None}
    assert "broken.db" in made.queues[1].error


async def test_a_queue_that_does_not_answer_at_first_is_asked_again(monkeypatch):
    async with SQSServer() as server:
        server.create_queue("shop", dead_letter="shop-dead")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("DAWDLE_SQS_DEAD_LETTER_URL", raising=False)
        backend = SQS()
        async with backend:
            queue = CountedQueue("default", backend)
            monkeypatch.setattr(backend, "prepare_receive", refuse)
            await queue.ask()
            assert queue.asked.error == "no credentials"
            assert queue.period(0.1) == 10
            monkeypatch.undo()
            await queue.ask()
            assert (queue.asked.error, queue.asked.dead_letters) == (None, 0)


async def refuse():
    raise BackendError("no credentials", kind="denied")


async def test_a_file_that_is_not_there_is_told_and_not_made(file, tmp_path):
    other = SQLite(tmp_path / "typo.db")
    with pytest.raises(CommandError, match=r"typo\.db.*is the path right"):
        async with open_sources(None, {"default": other}, [], 0.1):
            pass
    async with open_sources(None, {"default": file, "other": other}, [], 0.1) as sources:
        await sources.ask()
        made = sources.picture()
    assert [row.waiting for row in made.queues] == [0, None]
    assert "typo.db" in made.queues[1].error
    assert not (tmp_path / "typo.db").exists()


async def test_a_queue_in_memory_is_not_opened_and_not_shown(port):
    port.says(worker())
    async with open_sources("shop:app", {"default": Memory()}, [port.url], 0.1) as sources:
        await sources.ask()
        made = sources.picture()
    assert made.queues == ()
    assert made.workers[0].app == "shop:app"


async def test_there_must_be_something_to_look_at():
    with pytest.raises(CommandError, match="in memory.*--workers"):
        async with open_sources("shop:app", {"default": Memory()}, [], 0.1):
            pass


async def test_each_is_asked_again_when_it_is_due_and_not_before(port, file):
    port.says(worker())
    async with open_sources(None, {"default": file}, [port.url], 0.2) as sources:
        await sources.ask()
        await sources.ask()
        assert port.asked == 1
        await asyncio.sleep(0.25)
        await sources.ask()
        assert port.asked == 2


async def test_workers_are_added_up_anew_when_one_says_something_else(port, file):
    async with open_sources(None, {"default": file}, [port.url], 0.05) as sources:
        await sources.ask()
        first, second = sources.picture(), sources.picture()
        assert second.workers is first.workers
        assert second.time > first.time
        port.says(worker(pid=7))
        await asyncio.sleep(0.05)
        await sources.ask()
        assert sources.picture().workers[0].pid == 7


async def test_one_that_hangs_is_not_waited_for_and_not_asked_twice(port, file, monkeypatch):
    monkeypatch.setattr(_worker_port, "TIMEOUT_SECONDS", 60.0)
    port.hangs = True
    async with open_sources(None, {"default": file}, [port.url], 0.05) as sources:
        await until(lambda: asked(sources, port))
        for _ in range(2):
            await sources.ask(0.1)
        assert sources.picture().queues[0].waiting == 0
        assert sources.picture().workers[0].error == "has not answered yet"
        assert port.asked == 1
    assert port.waited_out == 0, "its thread does not wait for the answer"


async def test_one_that_answers_byte_by_byte_is_not_waited_for_at_the_end(port, file, monkeypatch):
    monkeypatch.setattr(_worker_port, "TIMEOUT_SECONDS", 60.0)
    port.drips = "body"
    async with open_sources(None, {"default": file}, [port.url], 0.05) as sources:
        await until(lambda: asked(sources, port))
    assert port.waited_out == 0, "its thread does not wait for the answer"


async def asked(sources, port):
    await sources.ask(0.05)
    return port.stalled and sources.picture().queues[0].waiting is not None


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_a_fleet_is_asked_as_often_as_one_worker_would_be(threads):
    assert WorkerPort("http://127.0.0.1:1", threads, of=3).period(0.1) == pytest.approx(0.3)


class CloudWatch:
    """Answers as CloudWatch does."""

    def __init__(self, *points, error=None):
        self.points = points
        self.error = error
        self.asked = []

    async def call(self, operation, about, **arguments):
        self.asked.append((operation, about, arguments))
        if self.error is not None:
            raise self.error
        now = datetime.now(UTC)
        return {
            "Label": "ApproximateAgeOfOldestMessage",
            "Datapoints": [{"Timestamp": now - timedelta(minutes=ago), "Maximum": age} for ago, age in self.points],
        }


async def test_cloudwatch_is_asked_for_the_latest_age_of_the_oldest_message():
    client = CloudWatch((5.0, 90.0), (2.1, 33.0), (3.0, 61.0))
    age = QueueAge("default", "123456789012/shop.fifo", client)
    await age.ask()
    ((operation, _, arguments),) = client.asked
    assert operation == "get_metric_statistics"
    assert arguments["Dimensions"] == [{"Name": "QueueName", "Value": "shop.fifo"}]
    assert age.oldest == 33
    assert age.note == "OLDEST of default is what CloudWatch has of 2 minutes ago"
    assert age.period(0.1) == 60


async def test_what_cloudwatch_does_not_know_is_told():
    age = QueueAge("default", "1/shop", CloudWatch())
    await age.ask()
    assert (age.oldest, age.note) == (None, "OLDEST of default: CloudWatch has no figure of the last ten minutes")
    age = QueueAge("default", "1/shop", CloudWatch(error=AwsError("AccessDenied: no", "AccessDenied")))
    await age.ask()
    assert age.oldest is None
    assert age.note.endswith("AccessDenied: no: allow cloudwatch:GetMetricStatistics")


async def test_cloudwatch_is_for_queues_on_sqs(tmp_path):
    with pytest.raises(CommandError, match="none of these is one"):
        async with open_sources(None, {"default": SQLite(tmp_path / "shop.db")}, [], 0.1, ask_cloudwatch=True):
            pass
