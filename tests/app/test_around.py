"""`around=`: an async context manager about each run of a handler. It is left before the outcome is decided."""

from contextlib import asynccontextmanager

import pytest

from dawdle import Context, Retry
from dawdle.hooks import HandlerFinished
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


class Session:
    """What a unit of work provides, as a database's session is."""

    def __init__(self, story, name="session"):
        self.story = story
        self.name = name


def unit_of_work(story, name="session"):
    """An `around` that notes what happens to its session."""

    @asynccontextmanager
    async def around(ctx):
        session = Session(story, name)
        ctx.provide(session)
        story.append(f"open {name}")
        try:
            yield
        except BaseException as error:
            story.append(f"roll back {name}: {type(error).__name__}")
            raise
        story.append(f"commit {name}")

    return around


def outcomes(moments):
    return [moment.outcome for moment in moments if isinstance(moment, HandlerFinished)]


@pytest.fixture
def story():
    return []


async def test_a_handler_runs_inside_it_and_finds_what_it_provides(running, registry, moments, story):
    @registry.on_event(Placed, around=unit_of_work(story))
    async def handler(event, ctx: Context):
        story.append(f"use {ctx.state(Session).name}")

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert story == ["open session", "use session", "commit session"]
    assert outcomes(moments) == ["done"]


async def test_it_sees_what_the_handler_raises(running, registry, moments, story):
    @registry.on_event(Placed, around=unit_of_work(story), retry=Retry(max_attempts=1))
    async def handler(event):
        raise ValueError("no stock")

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
    assert story == ["open session", "roll back session: ValueError"]
    assert outcomes(moments) == ["failed"]


async def test_a_commit_that_fails_is_a_handler_that_failed(running, registry, moments, clock, story):
    @asynccontextmanager
    async def around(ctx):
        yield
        if ctx.attempt == 1:
            raise ConnectionError("the database is gone")

    @registry.on_event(Placed, around=around)
    async def handler(event, ctx: Context):
        story.append(ctx.attempt)

    async with running() as app:
        await app.signal(Placed(1))
        await app.idle()
        await clock.advance(900)
        await app.idle()
    assert story == [1, 2]
    assert outcomes(moments) == ["failed", "done"]
