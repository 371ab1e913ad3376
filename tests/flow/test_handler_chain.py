"""The chain about a handler: each link knows only the next, and may answer without it."""

from contextlib import asynccontextmanager

import msgspec
import pytest

from dawdle._flow.handler_chain import Chains, Invocation
from dawdle._handlers.context import Provided
from dawdle._handlers.handler import Handler, Options
from dawdle._rules.outcome import DONE, Postponed

pytestmark = pytest.mark.anyio


@pytest.fixture
def story():
    return []


@pytest.fixture
def handler(story):
    @asynccontextmanager
    async def around(ctx):
        story.append("around")
        yield
        story.append("left")

    return Handler(print, "handler", (), Options(), takes_context=False, is_async=True, around=(around,))


@pytest.fixture
def invocation():
    return Invocation(run=None, retry=None, context=None, provided=Provided(), deadline=None)


@pytest.fixture
def chains(story):
    async def first(invocation, call_next):
        story.append("first")
        return await call_next(invocation)

    async def second(invocation, call_next):
        story.append("second")
        outcome = await call_next(invocation)
        story.append(outcome)
        return outcome

    async def end(invocation):
        story.append("handler")
        return DONE

    return Chains((first, second), end)


async def test_the_links_of_the_app_come_first_and_the_outcome_goes_back_through_them(
    chains, handler, invocation, story
):
    assert await chains.of(handler)(invocation) is DONE
    assert story == ["first", "second", "around", "handler", "left", DONE]


async def test_a_link_may_answer_without_running_the_handler(handler, invocation, story):
    async def once(invocation, call_next):
        return Postponed(5)

    async def end(invocation):
        raise AssertionError

    assert await Chains((once,), end).of(handler)(invocation) == Postponed(5)
    assert story == []


async def test_a_chain_is_put_together_once_and_anew_for_another_around(chains, handler, invocation, story):
    chain = chains.of(handler)
    assert chains.of(handler) is chain
    other = msgspec.structs.replace(handler, around=())
    assert chains.of(other) is not chain
    await chains.of(other)(invocation)
    assert "around" not in story


async def test_without_links_a_chain_is_the_handler_alone(handler, invocation):
    async def end(invocation):
        return DONE

    assert Chains((), end).of(msgspec.structs.replace(handler, around=())) is end
