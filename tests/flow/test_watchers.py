"""Which ends of an event's handlers are seen by those who watch, and which come again elsewhere."""

from itertools import product
from types import SimpleNamespace

import pytest

from dawdle._flow.watchers import Watcher, Watchers
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Postponed, Rejected
from dawdle._rules.settlement import Ack, Forward, Release

pytestmark = pytest.mark.anyio


ENDED, PUT_OFF = [Done(), Failed("no"), Rejected("never")], [AtLimit(1, 1), Postponed(1), Interrupted()]
FIRST = [{"owed": None}, {"owed": None, "attempt": 2}, {"owed": "one"}]
RETRIES = [{"owed": "one", "attempt": 2}, {"owed": "one", "error": "kept, as there is no dead-letter queue"}]


@pytest.mark.parametrize("settlement", [Ack(), Forward((), 0.0), Release(0.0)], ids=repr)
@pytest.mark.parametrize("copy", FIRST + RETRIES, ids=repr)
async def test_an_event_is_seen_once_where_its_handlers_have_ended(settlement, copy):
    for lease_lost, outcomes in product([False, True], [[], *product(ENDED + PUT_OFF, repeat=2)]):
        seen = await is_seen(settlement, copy, lease_lost, outcomes)
        ended = bool(outcomes) and not any(each in PUT_OFF for each in outcomes)
        assert seen == (ended and copy in FIRST and not lease_lost and not isinstance(settlement, Release))


async def is_seen(settlement, copy, lease_lost, outcomes):
    work = SimpleNamespace(
        event="the event",
        envelope=SimpleNamespace(**{"attempt": 1, "error": None, **copy}),
        message=SimpleNamespace(lease_lost=lease_lost),
        results={str(number): SimpleNamespace(outcome=outcome) for number, outcome in enumerate(outcomes)},
    )
    watchers, watcher = Watchers(), Watcher((str,), None, 5)
    with watchers.watch(watcher):
        watchers.see(work, settlement)
    return await watcher.next() == "the event"


async def test_who_comes_when_the_app_is_over_has_ended_with_its_error():
    watchers, first, second = Watchers(), Watcher((), None, 5), Watcher((), None, 5)
    died = Exception("the app has died")
    with watchers.watch(first):
        watchers.end(died)
        watchers.end(None)
        with watchers.watch(second):
            for each in (first, second):
                with pytest.raises(Exception, match="the app has died"):
                    await each.next()
    assert not watchers.watching
