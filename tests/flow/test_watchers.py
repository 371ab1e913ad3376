"""Which ends of an event's handlers are seen by those who watch, and which come again elsewhere."""

from itertools import product
from types import SimpleNamespace

import pytest

from dawdle._flow.watchers import Watcher, Watchers
from dawdle._rules.settlement import Ack, Forward, Release

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("settlement", "owed", "lease_lost", "ran"),
    list(product([Ack(), Forward((), 0.0), Release(0.0)], [None, "one"], [False, True], [False, True])),
)
async def test_an_event_is_seen_once_where_its_handlers_have_ended(settlement, owed, lease_lost, ran):
    work = SimpleNamespace(
        event="the event",
        envelope=SimpleNamespace(owed=owed),
        message=SimpleNamespace(lease_lost=lease_lost),
        results={"one": "done"} if ran else {},
    )
    watchers, watcher = Watchers(), Watcher((str,), None, 5)
    with watchers.watch(watcher):
        watchers.see(work, settlement)
    seen = await watcher.next() == "the event"
    assert seen == (ran and owed is None and not lease_lost and not isinstance(settlement, Release))


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
