"""The examples, run as a reader runs them: in a process of their own, over real sockets, in bounded time."""

import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.slow
def test_the_quickstart_runs_every_handler_now_and_later():
    ended = run("quickstart.py")
    assert (ended.returncode, ended.stderr) == (0, "")
    now, later = ended.stdout.split("o-1 is done, o-2 is due in a second\n")
    assert sorted(now.splitlines()) == ["parcel for o-1, attempt 1", "receipt for o-1: 100 EUR"]
    assert sorted(later.splitlines()) == ["parcel for o-2, attempt 1", "receipt for o-2: 250 EUR"]


@pytest.mark.slow
def test_the_shop_does_everything_that_its_orders_lead_to_exactly_once():
    ended = run("-m", "shop.demo", "--orders", "50")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("50 orders over HTTP in ")
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
def test_no_order_is_lost_although_one_of_two_workers_is_killed_half_way():
    ended = run("-m", "orders.demo", "--orders", "60")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("60 orders over HTTP in ")
    assert row(ended.stdout, "signaled") == [60]
    rows = {handler: row(ended.stdout, handler) for handler in ("send_receipt", "update_stats", "book_shipping")}
    assert {handler: (handled, lost) for handler, (handled, _, _, lost) in rows.items()} == dict.fromkeys(rows, (60, 0))
    # A run whose worker is killed before the message is deleted is run again, and its failure with it.
    (_, receipts, _, _), (_, statistics, _, _), (_, shipments, again, _) = rows.values()
    assert (receipts, statistics) == (0, 0)
    assert 6 <= shipments <= 6 + again
    (requests,) = re.findall(r"^requests per event: ([\d.]+) \(send [\d.]+, receive ", ended.stdout, re.MULTILINE)
    assert 0 < float(requests) < 10
    (p50, p99), _ = re.findall(r": p50 ([\d.,]+) ms, p99 ([\d.,]+) ms$", ended.stdout, re.MULTILINE)
    assert 0 < float(p50.replace(",", "")) <= float(p99.replace(",", ""))


def test_the_orders_demo_notices_what_was_lost_and_what_ran_twice(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from orders.figures import HANDLERS, Figures

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
    table = figures.table({"SendMessageBatch": 1, "ReceiveMessage": 3, "GetQueueAttributes": 9})
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
