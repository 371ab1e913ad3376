"""What the log says of handlers that fail: the first in full, a count a minute, and never nothing."""

import gc
import logging
import weakref
from datetime import UTC, datetime

import msgspec
import pytest

from dawdle import Dawdle, Registry, Reject, Retry
from dawdle.backends.memory import Memory

pytestmark = pytest.mark.anyio


class Placed(msgspec.Struct, frozen=True):
    number: int = 0


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def app(registry, clock):
    return Dawdle(Memory(clock=clock), registry=registry, clock=clock, grace=1)


def lines_of(caplog):
    return [each for each in caplog.records if each.name == "dawdle._flow.failure_log"]


async def test_a_thousand_failures_alike_are_one_traceback_and_one_counted_line(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=1))
    async def mail(event: Placed) -> None:
        raise ConnectionError("the server does not answer")

    start = clock.now()
    async with app:
        await app.signal_many([Placed(number) for number in range(1000)])
        await clock.advance(120)
        first, rest = lines_of(caplog)
    assert first.levelno == rest.levelno == logging.ERROR
    assert first.exc_info[0] is ConnectionError
    assert rest.exc_info is rest.exc_text is None
    text = rest.getMessage()
    assert text.startswith("handler mail failed 999 more times with ConnectionError at ")
    assert f"{__file__}:" in text
    began = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert f" in 60 s, each on its last attempt, 1,000 times since {began}, where the traceback is; the lat" in text
    assert text.endswith("ConnectionError: the server does not answer")


async def test_what_was_counted_is_told_when_the_app_is_left(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=3600))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with app:
        await app.signal_many([Placed(number) for number in range(3)])
        await clock.advance(1)
    first, rest = lines_of(caplog)
    assert first.levelno == rest.levelno == logging.WARNING
    assert rest.getMessage().startswith("handler mail failed 2 more times with ConnectionError at ")
    assert " in 1 s, 3 times since " in rest.getMessage()


async def test_one_event_that_fails_to_the_end_shows_its_first_and_its_last_traceback(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=6, initial=100, jitter=0))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with app:
        await app.signal(Placed())
        await clock.advance(7200)
    assert [each.getMessage().partition(", for the ")[2][:8] for each in lines_of(caplog)] == [
        *("", "2nd time", "3rd time", "4th time", "5th time"),
        "",  # the last attempt, which is counted by itself
    ]
    said = [(each.getMessage().partition("attempt ")[2][:6], each.exc_info is not None) for each in lines_of(caplog)]
    assert said == [
        *(("1 of 6", True), ("2 of 6", False), ("3 of 6", False)),
        *(("4 of 6", False), ("5 of 6", False), ("6 of 6", True)),
    ]


async def test_at_the_level_debug_every_failure_has_its_traceback(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=1))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    with caplog.at_level(logging.DEBUG, "dawdle"):
        async with app:
            await app.signal_many([Placed(number) for number in range(10)])
            await clock.advance(120)
    assert [each.exc_info is not None for each in lines_of(caplog)] == [True] * 10


async def test_an_error_that_is_final_has_its_traceback_and_a_reject_has_none(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(never=(KeyError,)))
    async def mail(event: Placed) -> None:
        raise KeyError("street") if event.number else Reject("no address")

    async with app:
        await app.signal_many([Placed(0), Placed(1)])
        await clock.advance(1)
    (told,) = lines_of(caplog)
    assert "handler mail failed on" in told.getMessage()
    assert "attempt 1 of 12: KeyError: 'street'" in told.getMessage()
    assert told.levelno == logging.ERROR
    assert told.exc_info[0] is KeyError
    assert [each.getMessage() for each in caplog.records if "rejected" in each.getMessage()] != []


async def test_two_places_that_raise_the_same_error_are_two_failures(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=3600))
    async def mail(event: Placed) -> None:
        if event.number % 2:
            raise ConnectionError("the mail server")
        raise ConnectionError("the address book")

    async with app:
        await app.signal_many([Placed(number) for number in range(10)])
        await clock.advance(1)
        traced = [each.getMessage() for each in lines_of(caplog) if each.exc_info]
    assert sorted(each.rpartition(": ")[2] for each in traced) == ["the address book", "the mail server"]


async def test_a_failure_that_goes_on_for_hours_has_a_traceback_each_hour(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=1000, initial=30, factor=1, jitter=0))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with app:
        await app.signal(Placed())
        await clock.advance(3 * 3600 - 60)
        lines = lines_of(caplog)
    assert sum(each.exc_info is not None for each in lines) == 3
    assert len(lines) <= 3 * 60 + 3


async def test_what_is_counted_keeps_neither_the_error_nor_its_frames(app, registry, clock, caplog):
    class Big(Exception):
        pass

    made = []

    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=3600))
    async def mail(event: Placed) -> None:
        error = Big("x" * 100_000)
        made.append(weakref.ref(error))
        raise error

    async with app:
        await app.signal_many([Placed(number) for number in range(5)])
        await clock.advance(1)
        caplog.clear()
        gc.collect()
        assert [each() for each in made[1:]] == [None] * 4
    (rest,) = lines_of(caplog)
    assert len(rest.getMessage()) < 3000
