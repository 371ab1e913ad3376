"""`dawdle replay` gives one handler again what a queue keeps, at a rate, and the queue keeps it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from textwrap import dedent
from types import SimpleNamespace

import click
import pytest

from dawdle.cli.replay import Latest, rate
from tests.cli.dead.shop import load

NOW = datetime(2026, 11, 28, tzinfo=UTC)

SHOP = dedent("""
    import dawdle, msgspec
    from dawdle.backends.sqlite import SQLite

    class OrderPlaced(msgspec.Struct, frozen=True):
        order_id: str

    class GiftPlaced(OrderPlaced, frozen=True):
        card: str = ""

    class OrderCancelled(msgspec.Struct, frozen=True):
        order_id: str

    registry = dawdle.Registry()
    ran = []

    @registry.on_event(name="send_receipt")
    async def send_receipt(event: OrderPlaced, ctx: dawdle.Context) -> None:
        ran.append((ctx.handler, event.order_id, ctx.event_id, "replayed" in ctx.headers))

    @registry.on_event(OrderPlaced, name="stats", exclude=(GiftPlaced,))
    async def stats(event: OrderPlaced, ctx: dawdle.Context) -> None:
        ran.append((ctx.handler, event.order_id, ctx.event_id, "replayed" in ctx.headers))

    @registry.on_event(name="audit_bound", queue="audit")
    async def audit_bound(event: OrderPlaced) -> None: ...

    app = dawdle.Dawdle(
        queues={"default": SQLite("shop.db"), "audit": SQLite("audit.db")},
        routes={OrderPlaced: ("default", "audit"), OrderCancelled: ("default", "audit")},
        listen=("default",),
        registry=registry,
    )
""")


@pytest.fixture
def shop(cli):
    cli.write("shop.py", SHOP)
    return cli


@pytest.fixture
def ids(shop):
    """Three orders and one cancellation, handled, and kept by the audit queue."""
    return place(("OrderPlaced", "o-1"), ("GiftPlaced", "o-2"), ("OrderPlaced", "o-3"), ("OrderCancelled", "o-1"))


def place(*events):
    shop = load()

    async def main():
        async with shop.app:
            ids = [await shop.app.signal(getattr(shop, name)(order)) for name, order in events]
            await shop.app.idle()
            return ids

    return asyncio.run(main())


def handled():
    """Let a worker handle what was replayed; return what ran, and how many copies are kept."""
    shop = load()

    async def main():
        async with shop.app:
            await shop.app.idle()
            return sorted(shop.ran), len([each async for each in shop.app.browse(queue="audit")])

    return asyncio.run(main())


def test_a_replay_reaches_one_handler_and_the_copies_stay(shop, ids):
    ran = shop("replay", "shop:app", "--from", "audit", "--to", "send_receipt", "--yes")
    assert (ran.code, ran.out, ran.err) == (0, "3 events replayed to send_receipt\n", "")
    runs, kept = handled()
    assert runs == [("send_receipt", f"o-{number}", ids[number - 1], True) for number in (1, 2, 3)]
    assert kept == 4


COUNTS = (
    ("--to send_receipt", 3),
    ("--to send_receipt --type GiftPlaced", 1),
    ("--to stats", 2),
    ("--to send_receipt --since 2200-01-01", 0),
    ("--to send_receipt --until 2200-01-01", 3),
)


def test_a_dry_run_counts_by_type_and_time_and_changes_nothing(shop, ids):
    for options, events in COUNTS:
        ran = shop("replay", "shop:app", "--from", "audit", *options.split(), "--dry-run", "--json")
        assert json.loads(ran.out) == {"dry_run": True, "events": events}, options
    assert handled() == ([], 4)


def test_of_several_events_it_asks_first_and_says_how_long_it_takes(shop, ids):
    command = ("replay", "shop:app", "--from", "audit", "--to", "send_receipt", "--rate", "1/m")
    ran = shop(*command, terminal=100, stdin="n\n")
    assert "Replay 3 events to send_receipt, at this rate in 3 minutes? [y/N]" in ran.err
    assert ran.code == 1
    assert shop(*command).code == 2
    assert handled() == ([], 4)


def test_what_is_stored_while_the_question_is_open_is_not_replayed(shop, ids, monkeypatch):
    def answer(question, *, yes):
        assert "Replay 3 events to send_receipt" in question
        place(*[("OrderPlaced", f"o-{number}") for number in range(10, 20)])

    monkeypatch.setattr("dawdle.cli.replay.confirm", answer)
    ran = shop("replay", "shop:app", "--from", "audit", "--to", "send_receipt", "--until", "2200-01-01")
    assert (ran.code, ran.out) == (0, "3 events replayed to send_receipt\n")
    runs, kept = handled()
    assert sorted(event_id for _, _, event_id, _ in runs) == sorted(ids[:3])
    assert kept == 14


def test_going_on_says_how_many_come_once_more_as_they_were_stored_at_the_same_time(shop, monkeypatch):
    # By a clock that stands still: how many events come into one transaction otherwise, the load decides.
    still = SHOP.replace("registry=registry", "registry=registry, clock=ManualClock()")
    shop.write("shop.py", f"from dawdle.testing import ManualClock\n{still}")
    place(*[("OrderPlaced", f"o-{number}") for number in range(250)])
    shop.write("shop.py", SHOP)
    place(("OrderPlaced", "last"))
    command = ("replay", "shop:app", "--from", "audit", "--to", "stats", "--yes")
    pressed = PressedAt(251 + 3)
    with monkeypatch.context() as patched:
        patched.setattr("dawdle.cli.replay.interruptible", lambda console: nullcontext(pressed))
        ran = shop(*command, "--json")
        stopped = json.loads(ran.out)
        assert (ran.code, stopped["replayed"], stopped["again"]) == (130, 200, 200)
        assert "200 of the replayed events come once more then" in ran.err
    assert shop(*command, "--since", stopped["next_at"]).out == "251 events replayed to stats\n"


class PressedAt:
    """^C that is pressed when it is asked about for so many times: for each event that is counted, and each batch."""

    def __init__(self, at):
        self.at, self.looks = at, 0

    @property
    def asked(self):
        self.looks += 1
        return self.looks == self.at


def test_only_those_of_the_latest_time_come_once_more():
    latest = Latest()
    for times, count in (((1, 2, 2), 2), ((2, 2), 4), ((3,), 1), ((3, 4), 1)):
        latest = latest.with_batch([SimpleNamespace(stored_at=NOW + timedelta(seconds=each)) for each in times])
        assert latest == (NOW + timedelta(seconds=times[-1]), count)
        assert latest.at(NOW + timedelta(seconds=5)) == 0


def test_a_rate_is_kept(shop, ids):
    began = time.monotonic()
    ran = shop("replay", "shop:app", "--from", "audit", "--to", "send_receipt", "--rate", "4/s", "--yes", "--json")
    assert time.monotonic() - began >= 0.5
    assert json.loads(ran.out) == {"replayed": 3, "next_at": None, "again": 0}


MISTAKES = (
    (("--from", "audit", "--to", "send_recipt"), "no handler 'send_recipt': did you mean 'send_receipt'?"),
    (("--from", "audit", "--to", "x"), "no handler 'x'; known are audit_bound, send_receipt, stats"),
    (("--from", "audits", "--to", "stats"), "did you mean 'audit'?"),
    (("--from", "default", "--to", "stats"), "stats runs on the queue 'default' itself"),
    (("--from", "audit", "--to", "audit_bound"), "audit_bound runs on the queue 'audit' itself"),
    (
        ("--from", "audit", "--to", "stats", "--type", "Unheard"),
        "stats does not take 'Unheard'; it takes OrderPlaced",
    ),
    (("--from", "audit", "--to", "stats", "--type", "GiftPlaced"), "stats does not take 'GiftPlaced'"),
    (("--from", "audit", "--to", "stats", "--rate", "fast"), "'fast' is no rate: write 50/s"),
    (("--from", "audit", "--to", "stats", "--since", "noon"), "'noon' is no time"),
)


def test_a_mistake_is_told(shop, ids):
    for options, text in MISTAKES:
        ran = shop("replay", "shop:app", *options, "--yes")
        assert ran.code in {1, 2}
        assert text in " ".join(ran.err.split())
    assert handled() == ([], 4)


def test_an_app_that_listens_to_the_queue_of_the_copies_is_told(shop, ids):
    shop.write("listens.py", SHOP.replace('listen=("default",)', "listen=None"))
    ran = shop("replay", "listens:app", "--from", "audit", "--to", "stats", "--dry-run")
    assert "listens to 'audit'" in ran.err
    assert "write listen=('default',)" in ran.err


def test_events_of_unknown_data_are_left_and_counted(shop, ids):
    shop.write("later.py", SHOP.replace("order_id: str", "order_id: int"))
    ran = shop("replay", "later:app", "--from", "audit", "--to", "send_receipt", "--yes")
    assert "3 events left out" in ran.err
    assert "the queue 'audit' keeps no such event" in ran.err
    assert (ran.code, ran.out) == (0, "0 events replayed to send_receipt\n")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for another process")
def test_an_interrupted_replay_says_how_to_go_on_and_leaves_none_out(shop):
    ids = place(*[("OrderPlaced", f"o-{number}") for number in range(200)])
    command = [sys.executable, "-m", "dawdle", "replay", "shop:app", "--from", "audit", "--to", "stats", "--yes"]
    with subprocess.Popen(
        [*command, "--rate", "50/s"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        shop_now = load()

        async def until_some():
            async with shop_now.app.connected():
                while len([each async for each in shop_now.app.browse(queue="default")]) < 10:
                    await asyncio.sleep(0.05)

        asyncio.run(asyncio.wait_for(until_some(), 60))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert 10 <= int(out.split()[0]) < 200
    since = err.split("--since ")[1].strip()
    assert datetime.fromisoformat(since) <= datetime.now(UTC)
    ran = shop("replay", "shop:app", "--from", "audit", "--to", "stats", "--yes", "--since", since)
    assert ran.code == 0
    runs, kept = handled()
    assert {event_id for _, _, event_id, _ in runs} == set(ids)
    assert kept == 200


@pytest.mark.parametrize(("text", "per_second"), [("50/s", 50), ("50", 50), ("3000/m", 50), ("7.2 / h", 0.002)])
def test_a_rate_is_events_in_a_unit_of_time(text, per_second):
    assert rate(text) == pytest.approx(per_second)


@pytest.mark.parametrize("text", ["0/s", "", "-1", "5/y", "50 s"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(click.BadParameter):
        rate(text)
