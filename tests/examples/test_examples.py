"""The examples, run as a reader runs them: in a process of their own, over real sockets, in bounded time."""

import asyncio
import gzip
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from dawdle.hooks import HandlerFinished, Signaled

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False
    )


def row(printed, name):
    """The numbers behind a name at the start of a line."""
    (line,) = re.findall(rf"^{name}\s+([\d, ]+)$", printed, re.MULTILINE)
    return [int(number.replace(",", "")) for number in line.split()]


def answer_of(request, process):
    """The answer of a server that is starting."""
    while process.poll() is None:
        try:
            with urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except URLError:
            time.sleep(0.05)
    raise AssertionError(process.communicate())


@pytest.mark.slow
def test_the_quickstart_answers_and_runs_the_handler_that_failed_again(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from orders.programs import free_port

    port = free_port()
    command = [sys.executable, "-um", "uvicorn", "quickstart:web", "--port", str(port), "--log-level", "warning"]
    order = Request(f"http://127.0.0.1:{port}/orders", b'{"order_id": "o-1", "total": 100}')
    order.add_header("content-type", "application/json")
    with subprocess.Popen(command, cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as web:
        try:
            status, answer = answer_of(order, web)
            assert (status, list(answer)) == (202, ["event_id"])
            printed = [web.stdout.readline() for _ in range(2)]
            assert printed == ["receipt for o-1: 100 EUR\n", "parcel for o-1, attempt 2\n"]
        finally:
            web.terminate()


@pytest.mark.slow
def test_the_shop_does_everything_that_its_orders_lead_to_exactly_once():
    ended = run("-m", "shop.demo", "--orders", "50")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "\n50 orders over HTTP in " in ended.stdout
    assert row(ended.stdout, "signaled OrderPlaced") == [50]
    assert row(ended.stdout, "signaled ReminderDue") == [50]
    # handled, retried, duplicates, lost
    assert row(ended.stdout, "send_receipt") == [50, 0, 0, 0]
    assert row(ended.stdout, "update_stats") == [50, 0, 0, 0]
    assert row(ended.stdout, "book_shipping") == [50, 100, 0, 0]
    assert row(ended.stdout, "remind") == [50, 0, 0, 0]
    p50, p99 = re.search(
        r"^from signal to handler: p50 ([\d.]+) ms, p99 ([\d.]+) ms$", ended.stdout, re.MULTILINE
    ).groups()
    assert 0 < float(p50) <= float(p99)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["sqs", "sqlite"])
def test_no_order_is_lost_although_one_of_two_workers_is_killed_half_way(place):
    ended = run("-m", "orders.demo", "--orders", "60", *(["--sqlite"] if place == "sqlite" else []))
    assert (ended.returncode, ended.stderr) == (0, "")
    told = ["2 workers wait", "30 orders are answered: worker", "in its place", "the queue is empty"]
    assert [line for line in told if line not in ended.stdout] == []
    assert "\n60 orders over HTTP in " in ended.stdout
    assert row(ended.stdout, "signaled") == [60]
    rows = {handler: row(ended.stdout, handler) for handler in ("send_receipt", "update_stats", "book_shipping")}
    assert {handler: (handled, lost) for handler, (handled, _, _, lost) in rows.items()} == dict.fromkeys(rows, (60, 0))
    # A run whose worker is killed before the message is deleted is run again, and its failure with it.
    (_, receipts, _, _), (_, statistics, _, _), (_, shipments, again, _) = rows.values()
    assert (receipts, statistics) == (0, 0)
    assert 6 <= shipments <= 6 + again
    if place == "sqs":
        (requests,) = re.findall(r"^requests per event: ([\d.]+) \(send [\d.]+, receive ", ended.stdout, re.MULTILINE)
        assert 0 < float(requests) < 10
    else:
        assert re.findall(r"^the file has [\d,]+ kB, and its write-ahead log [\d,]+ kB$", ended.stdout, re.MULTILINE)
    without, _ = re.findall(r": p50 ([\d.,]+) ms, p99 ([\d.,]+) ms$", ended.stdout, re.MULTILINE)
    p50, p99 = (float(number.replace(",", "")) for number in without)
    assert 0 < p50 <= p99 < 5_000


@pytest.mark.slow
@pytest.mark.anyio
async def test_files_are_compressed_by_a_worker_and_their_originals_removed_later(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(EXAMPLES)
    from orders.programs import running, sqs

    files = [tmp_path / f"{number}.txt" for number in range(3)]
    for file in files:
        file.write_text(file.name * 1000)
    async with sqs() as environment, running("archive.worker", environment=environment | {"KEEP_SECONDS": "0.2"}):
        sender = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "archive.send", *map(str, files), env=environment, stdout=subprocess.PIPE
        )
        printed, _ = await sender.communicate()
        assert (sender.returncode, len(printed.splitlines())) == (0, 3)
        async with asyncio.timeout(60):
            while any(file.exists() for file in files):
                await asyncio.sleep(0.05)
    assert [gzip.decompress(file.with_suffix(".txt.gz").read_bytes()).decode() for file in files] == [
        file.name * 1000 for file in files
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0.txt.gz", "1.txt.gz", "2.txt.gz"]


def test_the_orders_demo_notices_what_was_lost_and_what_ran_twice(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from orders.figures import HANDLERS, Figures
    from orders.places import requests_per_event

    figures = Figures()
    figures.signaled |= {"a", "b"}
    for handler in HANDLERS:
        figures.note(b'{"handler":"%s","event_id":"a","attempt":1,"waited":0.5}\n' % handler.encode())
    assert [figures.lost(handler) for handler in HANDLERS] == [1, 1, 1]
    assert not figures.nothing_lost

    for handler in HANDLERS:
        figures.note(b'{"handler":"%s","event_id":"b","attempt":2,"waited":2.5}\n' % handler.encode())
    assert figures.nothing_lost
    assert figures.waits == [0.5] * 3

    figures.note(b'{"handler":"send_receipt","event_id":"b","attempt":2,"waited":7.5}\n')
    assert (figures.twice("send_receipt"), figures.twice("update_stats")) == (1, 0)
    assert figures.nothing_lost
    table = figures.table(requests_per_event({"SendMessageBatch": 1, "ReceiveMessage": 3, "GetQueueAttributes": 9}, 2))
    assert row(table, "send_receipt") == [2, 2, 1, 0]
    assert "requests per event: 2.00 (send 0.50, receive 1.50, delete 0.00, visibility 0.00)" in table


def test_the_shop_notices_what_was_lost_and_what_ran_twice(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from shop.figures import WANTS, Figures

    figures = Figures(orders=1)

    def done(handler):
        kind = WANTS[handler]
        name = f"shop.handlers.{handler}"
        figures.watch(HandlerFinished("default", kind, kind, name, attempt=1, outcome="done", error=None, seconds=0))

    for kind in set(WANTS.values()):
        figures.watch(Signaled("default", kind, kind, delay=0))
    assert {figures.lost(handler) for handler in WANTS} == {1}
    assert not figures.flawless

    for handler in WANTS:
        done(handler)
    assert figures.flawless
    assert figures.all_done.is_set()

    done("remind")
    assert (figures.duplicates("remind"), figures.lost("remind")) == (1, 0)
    assert not figures.flawless
