"""What only SQLite has: options, queues that share a file, ids that are stored once, receives that are cancelled."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from math import inf
from pathlib import Path

import pytest

import dawdle
from dawdle.abc import Backend, Browsable, Countable, Identified, Outgoing, ReleaseEntry
from dawdle.backends.sqlite import SQLite
from dawdle.errors import ConfigurationError
from dawdle.testing import ManualClock

pytestmark = pytest.mark.anyio


async def bodies_in(queue):
    return [delivery.body for delivery in await queue.receive(100, 0)]


# Options


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": 0},
        {"lease": -1},
        {"lease": inf},
        {"name": ""},
        {"name": "a b"},
        {"name": "é"},
        {"name": "x" * 65},
        {"name": 7},
        {"durability": "none"},
        {"max_body": 0},
        {"max_body": True},
        {"max_body": 1 << 40},
        {"ordered": "no"},
        {"dead_letters": None},
        {"allow_network_file_system": 1},
        {"path": 7},
        {"path": b"app.db"},
        {"path": ":memory:"},
        {"path": "file:app.db?mode=memory"},
        {"path": ""},
    ],
)
def test_an_option_that_cannot_work_is_an_error(wrong):
    with pytest.raises(ConfigurationError, match=r"SQLite (takes|needs)"):
        SQLite(**{"path": "app.db", **wrong})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///shop.db", "shop.db"),
        ("sqlite+aiosqlite:////var/shop.db", "/var/shop.db"),
        ("file:shop.db?mode=ro", "shop.db"),
        ("file:///var/shop.db", "/var/shop.db"),
        ("sqlite://", "app.db"),
    ],
)
def test_a_url_is_refused_at_once_with_the_path_in_it(url, path):
    with pytest.raises(ConfigurationError, match=f"^SQLite takes a path, not a URL: write '{path}'$"):
        SQLite(url)


def test_a_directory_is_refused_at_once(tmp_path):
    with pytest.raises(ConfigurationError, match="is a directory: name a file in it"):
        SQLite(tmp_path)


async def test_a_lock_file_that_cannot_be_opened_is_named_as_the_cause(tmp_path):
    (tmp_path / "app.db-lock").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"cannot open .*app.db-lock, .*let this user read and write that file"
    ):
        async with SQLite(tmp_path / "app.db"):
            pass


def test_a_path_may_be_a_text_a_path_or_in_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", "from-env.db")
    expected = f"SQLite('{tmp_path}/{{}}', name='default')"
    assert repr(SQLite("app.db")) == expected.format("app.db")
    assert repr(SQLite(Path("app.db"))) == expected.format("app.db")
    assert repr(SQLite()) == expected.format("from-env.db")


def test_without_a_path_it_says_what_to_set():
    with pytest.raises(ConfigurationError, match=r"SQLite\('app.db'\), or set DAWDLE_SQLITE_PATH"):
        SQLite()


def test_the_environment_chooses_it(monkeypatch, tmp_path):
    monkeypatch.setenv("DAWDLE_BACKEND", "sqlite")
    with pytest.raises(ConfigurationError, match="DAWDLE_SQLITE_PATH"):
        dawdle.Dawdle()
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", str(tmp_path / "app.db"))
    dawdle.Dawdle()


def test_its_limits():
    limits = SQLite("app.db", lease=timedelta(minutes=2)).limits
    assert (limits.lease, limits.max_delay, limits.can_release_later, limits.durable, limits.shared) == (
        *(120, inf, True),
        *(True, True),
    )
    ordered = SQLite("app.db", ordered=True)
    assert ordered.limits.ordered
    assert ordered.limits.max_delay == 0
    assert ordered.delayed.limits.max_delay == inf
    assert not ordered.delayed.limits.ordered
    assert SQLite("app.db", dead_letters=False).dead_letters is None


async def test_it_is_a_backend_that_counts_and_has_a_name(sqlite):
    async with sqlite(name="orders") as queue:
        assert isinstance(queue, Backend)
        assert isinstance(queue, Countable)
        assert isinstance(queue, Identified)
        assert queue.identity.startswith("sqlite:")
        assert queue.identity.endswith("/orders")


async def test_it_must_be_open(sqlite):
    queue = sqlite()
    with pytest.raises(ConfigurationError, match="is not open"):
        await queue.send([Outgoing(b"one")])
    async with queue:
        with pytest.raises(ConfigurationError, match="is already open"):
            await queue.__aenter__()
    async with queue:
        pass


# Queues that share a file


async def test_queues_of_other_names_and_dead_letters_are_apart(sqlite):
    async with sqlite(name="a") as a, sqlite(name="b") as b:
        await a.send([Outgoing(b"a")])
        await b.send([Outgoing(b"b")])
        await a.dead_letters.send([Outgoing(b"dead a")])
        assert await bodies_in(a.dead_letters) == [b"dead a"]
        assert await bodies_in(b.dead_letters) == []
        assert await bodies_in(b) == [b"b"]
        assert await bodies_in(a) == [b"a"]
        assert a.identity != b.identity


async def test_two_objects_of_one_name_are_one_queue(sqlite):
    async with sqlite() as first:
        async with sqlite() as second:
            await first.send([Outgoing(b"one")])
            assert await bodies_in(second) == [b"one"]
        await first.send([Outgoing(b"two")])
        assert await bodies_in(first) == [b"two"]


async def test_objects_of_one_file_with_two_durabilities_are_an_error(sqlite):
    async with sqlite():
        with pytest.raises(ConfigurationError, match="with durability='full'"):
            await sqlite(durability="normal").__aenter__()
    async with sqlite(durability="normal"):
        pass


async def test_two_event_loops_share_a_file(sqlite):
    async with sqlite() as queue:

        def other():
            async def main():
                async with sqlite() as mine:
                    await mine.send([Outgoing(b"from a thread")])

            asyncio.run(main())

        await asyncio.to_thread(other)
        assert await bodies_in(queue) == [b"from a thread"]


async def test_a_key_is_never_used_again(sqlite):
    keys = set()
    for _ in range(2):
        async with sqlite() as queue:
            for _ in range(2):
                await queue.send([Outgoing(b"one")])
                (delivery,) = await queue.receive(1, 0)
                await queue.ack([delivery.receipt])
                keys.add(delivery.key)
    assert len(keys) == 4


async def test_a_queue_that_holds_messages_does_not_change_its_order(sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"one")])
    with pytest.raises(ConfigurationError, match="were stored with ordered=False"):
        await sqlite(ordered=True).__aenter__()
    async with sqlite() as queue:
        (delivery,) = await queue.receive(1, 0)
        await queue.ack([delivery.receipt])
    async with sqlite(ordered=True) as queue:
        assert queue.limits.ordered


# What is sent


async def test_a_delay_ends_to_the_millisecond_and_never_early(path):
    clock = ManualClock()
    async with SQLite(path, clock=clock) as queue:
        await queue.send([Outgoing(b"one", delay=0.0015)])
        waiting = asyncio.create_task(queue.receive(1, 10))
        await clock.advance(0.0014)
        assert not waiting.done()
        await clock.advance(0.0002)
        (delivery,) = await waiting
        assert delivery.received_at - delivery.stored_at == pytest.approx(0.0015, abs=1e-6)


async def test_a_delay_of_any_length(path):
    clock = ManualClock()
    async with SQLite(path, clock=clock) as queue:
        await queue.send([Outgoing(b"a year", delay=365 * 86400.0), Outgoing(b"for ever", delay=1e300)])
        assert (await queue.count()).delayed == 2
        await clock.advance(365 * 86400)
        assert await bodies_in(queue) == [b"a year"]


async def test_a_real_delay_is_kept_by_a_receive_that_waits(sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"one", delay=0.15)])
        (delivery,) = await queue.receive(1, 5)
        assert 0.15 <= delivery.received_at - delivery.stored_at < 1


async def test_the_oldest_comes_first_and_a_released_message_before_all(path):
    async with SQLite(path, clock=ManualClock()) as queue:
        await queue.send([Outgoing(b"%d" % number) for number in range(5)])
        first, second = await queue.receive(2, 0)
        assert await queue.release([ReleaseEntry(second.receipt, 0)]) == [None]
        assert await bodies_in(queue) == [b"1", b"2", b"3", b"4"]
        assert first.body == b"0"


async def test_receipts_that_are_none(sqlite):
    async with sqlite() as queue:
        assert await queue.ack(["", "a.b", "7", "-1.-1"]) == [None] * 4
        too_large = f"{10**20}.1"
        for receipt in ("x", too_large):
            for answers in (await queue.renew([receipt]), await queue.release([ReleaseEntry(receipt, 0)])):
                assert [fault.kind for fault in answers] == ["lost"]
            assert await queue.ack([receipt]) == [None]


async def test_an_ack_of_many_deletes_those_alone_and_none_by_an_old_receipt(path):
    clock = ManualClock()
    async with SQLite(path, clock=clock, lease=10) as queue:
        await queue.send([Outgoing(b"%d" % number) for number in range(6)])
        old = await queue.receive(6, 0)
        await clock.advance(11)
        new = await queue.receive(3, 0)
        assert await queue.ack([old[0].receipt, new[1].receipt, new[1].receipt, new[2].receipt]) == [None] * 4
        await clock.advance(11)
        assert sorted(await bodies_in(queue)) == [b"0", b"3", b"4", b"5"]


@pytest.mark.parametrize("others", [0, 3], ids=["ids in a row", "ids among those of another queue"])
async def test_many_are_received_and_deleted_alone_wherever_their_ids_lie(path, others):
    clock = ManualClock()
    async with SQLite(path, clock=clock, lease=10) as queue, SQLite(path, clock=clock, name="other", lease=10) as other:
        for number in range(40):
            await queue.send([Outgoing(b"%d" % number)])
            await other.send([Outgoing(b"other")] * others)
        early = await queue.receive(40, 0)
        assert (await other.count()).waiting == 40 * others
        again = early[7]
        await queue.release([ReleaseEntry(again.receipt, 0)])
        (late,) = await queue.receive(40, 0)
        assert late.body == again.body
        receipts = [each.receipt for each in reversed(early)]
        assert await queue.ack([*receipts, receipts[0]]) == [None] * 41
        assert (await queue.count()).in_flight == 1
        assert (await other.count()).waiting == 40 * others
        assert await queue.renew([late.receipt]) == [None]


async def test_what_is_released_at_once_comes_before_what_was_stored_with_it(path):
    async with SQLite(path, clock=ManualClock()) as queue:
        await queue.send([Outgoing(b"%d" % number) for number in range(6)])
        first = await queue.receive(3, 0)
        await queue.release([(each.receipt, 0) for each in reversed(first)])
        assert await bodies_in(queue) == [b"0", b"1", b"2", b"3", b"4", b"5"]


async def test_messages_are_counted_without_a_look_at_them(path):
    """A million of them would be read else, while all other calls wait."""
    async with SQLite(path, lease=10) as queue:
        await queue.send([Outgoing(b"one")])
        connection, asked = queue._worker.database._connection, []
        connection.set_trace_callback(asked.append)
        await queue.count()
        connection.set_trace_callback(None)
        (sql,) = asked
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()]
        assert len([step for step in plan if "dawdle_message" in step]) == 2
        assert all("USING COVERING INDEX" in step for step in plan if "dawdle_message" in step)


# Stored once


async def test_an_id_that_comes_again_is_stored_once(sqlite):
    async with sqlite() as queue, sqlite(name="other") as other:
        twice = [Outgoing(b"a", dedup="order-1"), Outgoing(b"b", dedup="order-1"), Outgoing(b"c", dedup="order-2")]
        assert await queue.send(twice) == [None, None, None]
        await queue.send(twice)
        await other.send(twice[:1])
        assert await bodies_in(queue) == [b"a", b"c"]
        assert await bodies_in(other) == [b"a"]


async def test_an_id_is_remembered_for_five_minutes_although_its_message_is_gone(path):
    clock = ManualClock()
    async with SQLite(path, clock=clock) as queue:
        one = [Outgoing(b"a", dedup="order-1")]
        await queue.send(one)
        (delivery,) = await queue.receive(1, 0)
        await queue.ack([delivery.receipt])
        await clock.advance(299)
        await queue.send(one)
        assert await bodies_in(queue) == []
        await clock.advance(2)
        await queue.send(one)
        assert await bodies_in(queue) == [b"a"]


async def test_ids_are_forgotten_so_the_table_does_not_grow(path):
    clock = ManualClock()
    async with SQLite(path, clock=clock) as queue:
        for number in range(40):
            await queue.send([Outgoing(b"a", dedup=f"{number}-{each}") for each in range(10)])
            await clock.advance(60)
    connection = sqlite3.connect(path)
    ((left,),) = connection.execute("SELECT count(*) FROM dawdle_dedup").fetchall()
    connection.close()
    assert left <= 70


async def test_an_id_made_for_one_message_costs_no_row(path, sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"a", dedup="x", fresh=True)])
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM dawdle_dedup").fetchall() == [(0,)]
    connection.close()


# Receives that are cancelled


async def test_a_receive_that_is_cancelled_in_any_turn_loses_nothing(sqlite):
    async with sqlite() as queue:
        for turns in range(30):
            waiting = asyncio.create_task(queue.receive(1, 10))
            await asyncio.sleep(0.002)
            await queue.send([Outgoing(b"%d" % turns)])
            for _ in range(turns % 10):
                await asyncio.sleep(0)
            if turns >= 20:
                await asyncio.sleep(0.002)
            waiting.cancel()
            (kept,) = await asyncio.gather(waiting, return_exceptions=True)
            if isinstance(kept, list):
                (delivery,) = kept
            else:
                async with asyncio.timeout(5):
                    (delivery,) = await queue.receive(1, 5)
            assert delivery.body == b"%d" % turns
            await queue.ack([delivery.receipt])


async def test_messages_that_come_in_the_turn_of_the_cancellation_are_given_back(sqlite):
    async with sqlite() as queue:
        await queue.send([Outgoing(b"one")])
        waiting = asyncio.create_task(queue.receive(1, 0))
        loop = asyncio.get_running_loop()
        real = loop.call_soon_threadsafe

        def cancel_too(callback, *arguments, **named):
            def both():
                callback(*arguments)
                waiting.cancel()

            return real(both)

        loop.call_soon_threadsafe = cancel_too
        try:
            with pytest.raises(asyncio.CancelledError):
                await waiting
        finally:
            del loop.call_soon_threadsafe
        async with asyncio.timeout(5):
            (delivery,) = await queue.receive(1, 5)
        assert delivery.receive_count == 2


async def test_an_idle_app_takes_its_time(sqlite, monkeypatch):
    rounds = []
    from dawdle.backends.sqlite._worker import Worker

    real = Worker._round
    monkeypatch.setattr(Worker, "_round", lambda self, new: (rounds.append(1), real(self, new)))
    async with sqlite() as queue:
        waiting = asyncio.create_task(queue.receive(1, 10))
        await asyncio.sleep(0.1)
        rounds.clear()
        await asyncio.sleep(2.2)
        assert len(rounds) <= 3
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


# Space


@pytest.mark.slow
async def test_a_file_gives_its_space_back_when_it_is_idle(path, sqlite, monkeypatch):
    from dawdle.backends.sqlite import _idle_work

    monkeypatch.setattr(_idle_work, "VACUUM_SECONDS", 0.05)
    async with sqlite() as queue:
        for _ in range(20):
            await queue.send([Outgoing(b"x" * 5000)] * 100)
        assert path.stat().st_size > 8_000_000
        while got := await queue.receive(100, 0):
            await queue.ack([each.receipt for each in got])
        waiting = asyncio.create_task(queue.receive(1, 60))
        async with asyncio.timeout(20):
            while path.stat().st_size > 5_000_000:
                await asyncio.sleep(0.1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_to_browse_shows_one_queue_of_the_file_and_writes_nothing(tmp_path):
    path = tmp_path / "app.db"
    async with SQLite(path, name="audit") as audit, SQLite(path) as other:
        for number in range(5):
            await audit.send([Outgoing(b"a%d" % number, group="g")])
            await other.send([Outgoing(b"o%d" % number)])
        assert isinstance(audit, Browsable)
        assert audit.dead_letters is not None
        with closing(sqlite3.connect(path)) as witness:
            commits = witness.execute("PRAGMA data_version").fetchone()
            first = await audit.browse(2)
            rest = await audit.browse(100, first[-1].key)
            assert await audit.browse(100, rest[-1].key) == await audit.dead_letters.browse(1) == []
            assert witness.execute("PRAGMA data_version").fetchone() == commits
        assert [each.body for each in (*first, *rest)] == [b"a0", b"a1", b"a2", b"a3", b"a4"]
        assert {each.group for each in first} == {"g"}
