"""The settler keeps to the order of sends and acks that the model of the rules is checked with."""

import asyncio
from itertools import product

import pytest
from tests.rules.model.steps import Protocol
from tests.rules.model.world import Truth, Unsent, WorkerState

from dawdle._flow.hook_calls import HookCaller
from dawdle._flow.in_flight_message import InFlightMessage
from dawdle._flow.settled_cache import SettledCache
from dawdle._flow.settlement_reports import SettlementReports
from dawdle._flow.settler import Settler
from dawdle._rules.copies import Copy
from dawdle._rules.settlement import Ack, Forward, Release
from dawdle.abc import Delivery, Limits
from dawdle.errors import BackendError

pytestmark = pytest.mark.anyio


class Queue:
    """Answers as the test says, and notes what it was asked, and when it had answered."""

    name, role = "default", ""
    limits = Limits(max_batch=10, max_body=1024, max_batch_bytes=1024, can_release_later=True)

    def __init__(self, *, stored=(), lost=False):
        self.main_queue = self
        self.dead = self
        self.notes = []
        self._stored = dict(stored)
        self._lost = lost

    def labeled(self, what):
        return what

    async def send(self, outgoing, *, unsigned):
        self.notes.append(f"send {outgoing.body.decode()}")
        for _ in range(len(self._stored)):
            await asyncio.sleep(0)
        self.notes.append(f"answer to {outgoing.body.decode()}")
        if not self._stored[outgoing.body]:
            raise BackendError("no answer")

    async def ack(self, receipt):
        self.notes.append("ack")
        if self._lost:
            raise BackendError("not ours", kind="lost")

    async def release(self, receipt, seconds):
        self.notes.append(f"release {seconds:g}")


def message_of(queue, clock):
    delivery = Delivery(receipt="r", key="k", body=b"", receive_count=1, stored_at=None, received_at=None, group=None)
    return InFlightMessage(queue, delivery, clock)


async def settled(clock, settlement, **answers):
    queue = Queue(**answers)
    message, settled_cache = message_of(queue, clock), SettledCache(clock)
    hooks = HookCaller(())
    reports = SettlementReports(clock=clock, hooks=hooks, letter_stored=lambda *stored: None)
    settler = Settler(clock=clock, hooks=hooks, settled_cache=settled_cache, reports=reports)
    await settler.settle(message, None, settlement)
    recalled = settled_cache.recall(message)
    return queue.notes, None if recalled is None else recalled[1]


def last_of(message):
    """What the model's worker ends with."""
    return "ack" if message.phase == "acks" else f"release {message.wait:g}"


@pytest.mark.parametrize("lost", [False, True])
async def test_a_verdict_without_copies_is_one_call(clock, lost):
    acks, releases = WorkerState("acks"), WorkerState("releases", wait=5)
    assert await settled(clock, Ack(), lost=lost) == ([last_of(Protocol().begins(acks))], Ack())
    assert await settled(clock, Release(5), lost=lost) == ([last_of(Protocol().begins(releases))], None)


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_copies_are_all_asked_for_and_all_answered_before_the_message_is_let_go_of_and_remembered(clock, number):
    bodies = [b"one", b"two", b"three"][:number]
    for kinds, answers in product(product(["retry", "dead"], repeat=number), product([True, False], repeat=number)):
        copies = tuple(Copy(body=body, delay=0.0, why=why) for body, why in zip(bodies, kinds, strict=True))
        stored = dict(zip(bodies, answers, strict=True))
        (*sends, last), recalled = await settled(clock, Forward(copies, release_after=7), stored=stored)
        assert sorted(sends) == sorted(f"{what} {body.decode()}" for what in ("send", "answer to") for body in bodies)
        in_doubt = tuple(Unsent(body, Truth(), 0.0, is_letter=False) for body, known in stored.items() if not known)
        sent = Protocol().begins(WorkerState("sends", wait=7))._replace(doubtful=in_doubt)
        assert last == last_of(Protocol().after_sends(sent))
        known = Protocol().known_after_sends(sent)
        if known.what == "done":
            assert recalled == Ack()
        else:
            assert [copy.body for copy in recalled.copies] == [copy.body for copy in known.unsent]
            assert recalled.release_after == known.wait
