"""The app on an ordered queue in a file: two apps keep the order of each group, in real time."""

import asyncio
from collections import Counter

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, Retry
from dawdle.backends.sqlite import SQLite

pytestmark = pytest.mark.anyio


class Step(msgspec.Struct, frozen=True):
    group: str
    number: int


@pytest.mark.slow
async def test_two_apps_on_one_file_keep_the_order_of_each_group(tmp_path):
    done, tries, busy, over = [], Counter(), set(), asyncio.Event()

    def app() -> Dawdle:
        registry = Registry()

        @registry.on_event(name="handler", retry=Retry(initial=0.1))
        async def handler(event: Step, ctx: Context) -> None:
            assert event.group not in busy
            busy.add(event.group)
            await asyncio.sleep(0.002)
            busy.remove(event.group)
            tries[event] += 1
            if event.number % 7 == 3 and tries[event] < 3:
                raise ConnectionError("not now")
            done.append(event)
            if len(done) == 90:
                over.set()

        return Dawdle(SQLite(tmp_path / "events.db", ordered=True), registry=registry)

    async with app() as one, app():
        for number in range(30):
            for group in "abc":
                await one.signal(Step(group, number), group=group, delay=0.3 if number == 29 else None)
        async with asyncio.timeout(60):
            await over.wait()
    for group in "abc":
        assert [event.number for event in done if event.group == group] == list(range(30))
    assert {event.number for event in tries if tries[event] == 3} == {3, 10, 17, 24}
