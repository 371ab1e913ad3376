"""Whatever is raised on the way in, in the handler, and on the way out: what comes out settles each sibling."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dawdle import Dawdle, Registry, Reject, Retry, RetryLater
from dawdle._rules.outcome import Postponed, outcome_of
from dawdle.backends.memory import Memory
from dawdle.hooks import HandlerFinished
from dawdle.testing import ManualClock
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

ERRORS = {
    "failed": lambda: ValueError("failed"),
    "final": lambda: OSError("final"),
    "rejected": lambda: Reject("rejected"),
    "later": lambda: RetryLater(60),
    "cancelled": asyncio.CancelledError,
    "group": lambda: ExceptionGroup("two", [RetryLater(5), ValueError("in a group")]),
    "exit": lambda: SystemExit(3),
}


def error_of(name):
    return ERRORS[name]()


RAISED = st.sampled_from([None, None, *ERRORS])


class Layer(msgspec.Struct, frozen=True):
    """What one `around` does: raise on the way in, or on the way out; or swallow what it sees there."""

    enter: str | None
    leave: str | None
    swallows: bool

    def around(self):
        @asynccontextmanager
        async def around(ctx):
            if self.enter is not None:
                raise error_of(self.enter)
            try:
                yield
            except BaseException:
                await asyncio.sleep(0)
                if self.leave is None and not self.swallows:
                    raise
            if self.leave is not None:
                raise error_of(self.leave)

        return around


class Plan(msgspec.Struct, frozen=True):
    """One handler: its layers, the outermost first, what it raises itself, and whether it runs in a thread."""

    layers: tuple[Layer, ...]
    raises: str | None
    in_thread: bool

    @property
    def comes_out(self):
        """The error that comes out of it all; None: none."""
        runs, error = [], None
        for layer in self.layers:
            if layer.enter is not None:
                error = layer.enter
                break
            runs.append(layer)
        else:
            error = self.raises
        for layer in reversed(runs):
            error = layer.leave or error
        return error

    def register(self, registry, name):
        def fail():
            if self.raises is not None:
                raise error_of(self.raises)

        async def async_handler(event: Placed):
            await asyncio.sleep(0)
            fail()

        def handler(event: Placed):
            fail()

        registry.on_event(
            Placed,
            name=name,
            around=[layer.around() for layer in self.layers],
            retry=Retry(max_attempts=1, never=(OSError,)),
        )(handler if self.in_thread else async_handler)


LAYERS = st.lists(st.builds(Layer, RAISED, RAISED, st.booleans()), max_size=3).map(tuple)
PLANS = st.lists(st.builds(Plan, LAYERS, RAISED, st.booleans()), min_size=1, max_size=3)
WORDS = {"Failed": "failed", "Rejected": "rejected", "Postponed": "later"}


@pytest.mark.slow
@given(PLANS)
@settings(max_examples=150, deadline=None)
async def test_each_sibling_is_settled_by_what_came_out_last(plans):
    clock, registry, moments = ManualClock(), Registry(), []
    queue = Memory(clock=clock, max_delay=900)
    for number, plan in enumerate(plans):
        plan.register(registry, f"h{number}")
    async with Dawdle(queue, registry=registry, clock=clock, hooks=[moments.append]) as app:
        await app.signal(Placed(1))
        await app.idle()
        waiting = {msgspec.json.decode(body)["dawdleowed"] for body in queue.messages()}
        assert app.running_handlers() == []
    letters = {msgspec.json.decode(body)["dawdleowed"] for body in queue.dead_letters.messages()}
    expected = {
        f"h{number}": None if plan.comes_out is None else outcome_of(error_of(plan.comes_out), (OSError,))
        for number, plan in enumerate(plans)
    }
    assert {each.handler: each.outcome for each in moments if isinstance(each, HandlerFinished)} == {
        name: "done" if outcome is None else WORDS[type(outcome).__name__] for name, outcome in expected.items()
    }
    assert {each.handler: each.error for each in moments if isinstance(each, HandlerFinished)} == {
        name: getattr(outcome, "error", None) for name, outcome in expected.items()
    }
    assert waiting == {name for name, outcome in expected.items() if isinstance(outcome, Postponed)}
    assert letters == {name for name, each in expected.items() if each is not None and not isinstance(each, Postponed)}
