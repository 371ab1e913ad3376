"""What the log says of handlers that fail: the first in full, a count a minute, and never nothing."""

import logging

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

    async with app:
        await app.signal_many([Placed(number) for number in range(1000)])
        await clock.advance(120)
        first, rest = lines_of(caplog)
    assert first.levelno == rest.levelno == logging.ERROR
    assert first.exc_info[0] is ConnectionError
    text = rest.getMessage()
    assert text.startswith(
        "handler mail failed 999 more times with ConnectionError in 60 s, each on its last attempt; one"
    )
    assert text.endswith("ConnectionError: the server does not answer")
    assert "\\n" not in text, "a traceback is no part of the line, where its line breaks would be escaped"
    lines = rest.exc_text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines.count('    raise ConnectionError("the server does not answer")') == 1
    assert lines[-1] == "ConnectionError: the server does not answer"


async def test_what_was_counted_is_told_when_the_app_is_left(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=2, initial=3600))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with app:
        await app.signal_many([Placed(number) for number in range(3)])
        await clock.advance(1)
    first, rest = lines_of(caplog)
    assert first.levelno == rest.levelno == logging.WARNING
    assert rest.getMessage().startswith(
        "handler mail failed 2 more times with ConnectionError in 1 s; one of the latest"
    )


async def test_one_event_that_fails_to_the_end_shows_its_first_and_its_last_traceback(app, registry, clock, caplog):
    @registry.on_event(Placed, name="mail", retry=Retry(max_attempts=6, initial=100, jitter=0))
    async def mail(event: Placed) -> None:
        raise ConnectionError

    async with app:
        await app.signal(Placed())
        await clock.advance(7200)
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
