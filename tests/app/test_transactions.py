"""transaction=: an event is stored if and only if its caller commits, where the queue can do that."""

import re

import msgspec
import pytest

import dawdle
from dawdle import BackendError, ConfigurationError, SignalError
from dawdle.abc import Fault, Transactional
from dawdle.backends.memory import Memory
from dawdle.hooks import Signaled
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Transaction:
    """A transaction on one queue; what it is given waits for the commit."""

    def __init__(self, queue):
        self.queue = queue
        self.batches = []

    async def commit(self):
        for batch in self.batches:
            await self.queue.send(batch)


class Database(Memory):
    """A queue in memory that takes part in its callers' transactions."""

    def __init__(self, clock, **limits):
        super().__init__(clock=clock)
        self.limits = msgspec.structs.replace(self.limits, **limits)
        self.faults = {}

    async def send_in(self, transaction, batch):
        if not isinstance(transaction, Transaction) or transaction.queue is not self:
            raise ConfigurationError("this is no transaction of this database")
        if (whole := self.faults.get(None)) is not None:
            raise whole
        answers = [self.faults.get(msgspec.json.decode(outgoing.body).get("id")) for outgoing in batch]
        transaction.batches.append([each for each, fault in zip(batch, answers, strict=True) if fault is None])
        return answers


@pytest.fixture
def database(clock):
    return Database(clock)


@pytest.fixture
def handled(registry):
    handled = []

    @registry.on_event(Placed)
    async def handle(event):
        handled.append(event.number)

    return handled


async def test_the_queue_in_memory_takes_part_in_no_transaction(queue, database):
    assert not isinstance(queue, Transactional)
    assert isinstance(database, Transactional)


async def test_an_event_is_handled_if_and_only_if_its_transaction_is_committed(running, database, handled, moments):
    async with running(database) as app:
        first, second = Transaction(database), Transaction(database)
        event_id = await app.signal(Placed(1), transaction=first, group="g", headers={"tenant": "x"}, id="o-1")
        await dawdle.signal(Placed(2), transaction=second)
        assert await dawdle.signal_many([Placed(3), Placed(4)], transaction=first)
        await app.idle()
        assert handled == []
        await first.commit()
        await app.idle()
        assert sorted(handled) == [1, 3, 4]
    (outgoing,) = first.batches[0]
    envelope = msgspec.json.decode(outgoing.body)
    assert (outgoing.group, envelope["id"], envelope["tenant"], event_id) == ("g", "o-1", "x", "o-1")
    assert outgoing.dedup
    assert not outgoing.fresh
    assert not any(isinstance(moment, Signaled) for moment in moments), "only the caller knows of the commit"


async def test_a_call_runs_if_and_only_if_its_transaction_is_committed(running, database, registry):
    ran = []

    @registry.function
    async def work(number: int):
        ran.append(number)

    async with running(database) as app:
        first, second = Transaction(database), Transaction(database)
        await app.call(work.options(transaction=first), 1)
        await app.call(work.options(transaction=second), 2)
        await app.idle()
        assert ran == []
        await first.commit()
        await app.idle()
    assert ran == [1]


async def test_a_delay_in_a_transaction_is_a_delay(running, database, handled, clock):
    async with running(database) as app:
        transaction = Transaction(database)
        await app.signal(Placed(1), transaction=transaction, delay=60)
        await transaction.commit()
        await clock.advance(59)
        assert handled == []
        await clock.advance(1.01)
        assert handled == [1]


async def test_events_in_a_transaction_are_signed(running, clock, handled):
    database = Database(clock)
    async with running(database, signing_keys={"k": b"0123456789abcdef0123456789abcdef"}) as app:
        transaction = Transaction(database)
        await app.signal(Placed(1), transaction=transaction)
        await transaction.commit()
        await app.idle()
    assert handled == [1]


async def test_many_events_go_in_batches_that_the_queue_takes(running, clock):
    database = Database(clock, max_batch=3)
    async with running(database, start_listener=False) as app:
        transaction = Transaction(database)
        ids = await app.signal_many([Placed(number) for number in range(8)], transaction=transaction)
        assert await app.signal_many([], transaction=transaction) == []
    assert [len(batch) for batch in transaction.batches] == [3, 3, 2]
    assert [outgoing.dedup for batch in transaction.batches for outgoing in batch] == ids


@pytest.mark.parametrize("many", [False, True])
async def test_a_queue_that_cannot_says_so_before_anything_is_stored(running, queue, many):
    async with running(start_listener=False) as app:
        signaling = app.signal_many([Placed()], transaction=object()) if many else app.signal(Placed(), transaction=0)
        text = "the queue default cannot store in your transaction: its backend, Memory, is no dawdle.abc.Transactional"
        with pytest.raises(ConfigurationError, match=re.escape(text)):
            await signaling
    assert queue.messages() == []


async def test_a_second_queue_for_delays_must_be_able_to_as_well(running, database, clock, monkeypatch):
    monkeypatch.setattr(Database, "delayed", property(lambda self: Memory(clock=clock, dead_letters=False)))
    async with running(database, start_listener=False) as app:
        await app.signal(Placed(), transaction=Transaction(database))
        with pytest.raises(ConfigurationError, match="cannot store in your transaction"):
            await app.signal(Placed(), transaction=Transaction(database), delay=5)


async def test_direct_and_a_transaction_exclude_each_other(running, database, handled):
    async with running(database) as app:
        with pytest.raises(ConfigurationError, match="direct=True runs the handlers before you commit"):
            await app.signal(Placed(), transaction=Transaction(database), direct=True)
    assert handled == []


async def test_what_the_backend_says_of_a_transaction_reaches_the_caller(running, database):
    async with running(database, start_listener=False) as app:
        with pytest.raises(ConfigurationError, match="no transaction of this database"):
            await app.signal(Placed(), transaction="BEGIN")


async def test_what_is_not_stored_in_a_transaction_is_told_by_its_id(running, database):
    database.faults["a"] = Fault("throttled", "the disk is full")
    async with running(database, start_listener=False) as app:
        transaction = Transaction(database)
        with pytest.raises(SignalError, match="the disk is full") as caught:
            await app.signal(Placed(), transaction=transaction, id="a")
        assert caught.value.not_stored == ("a",)
        database.faults[None] = BackendError("the database is locked", kind="throttled")
        with pytest.raises(SignalError, match="could not store 2 of 2 events: the database is locked") as caught:
            await app.signal_many([Placed(), Placed()], transaction=transaction)
        assert caught.value.not_stored == caught.value.ids
