"""What a host adds to an app before it is entered, and what a mistake there changes: nothing."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from dawdle import Context, Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.hooks import Settled
from dawdle.telemetry import prometheus
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@pytest.fixture
def ran():
    return []


@pytest.fixture
def make_app(ran):
    """Make an app with two queues, and a handler that notes the queue of each event."""

    def make(**options):
        registry = Registry()

        @registry.on_event
        async def note(event: Placed, ctx: Context) -> None:
            ran.append(ctx.queue)

        return Dawdle(queues={"default": Memory(), "video": Memory()}, registry=registry, **options)

    return make


async def slots_of(app):
    async with app:
        return {each.queue: each.slots for each in app.health().queues}


async def test_an_app_works_on_the_queues_that_it_is_configured_for(make_app, ran):
    app = make_app(listen=["default"])
    app.configure(listen=["video"])
    async with app:
        for queue in ("default", "video"):
            await app.signal(Placed(), queue=queue)
        await app.idle()
    assert ran == ["video"]


async def test_hooks_and_telemetry_are_added_to_those_that_the_app_has(make_app):
    mine, hosts, figures = [], [], CollectorRegistry()
    app = make_app(hooks=[mine.append])
    assert app.telemetry == ()
    watching = prometheus(figures)
    app.configure(hooks=[hosts.append], telemetry=watching)
    assert app.telemetry == (watching,)
    async with app:
        await app.signal(Placed())
        await app.idle()
    assert mine == hosts
    assert Settled in map(type, hosts)
    assert b"messaging_client_sent_messages_total" in generate_latest(figures)


async def test_a_second_telemetry_of_one_kind_is_refused(make_app):
    app = make_app(telemetry=prometheus(CollectorRegistry()))
    before = app.telemetry
    with pytest.raises(ConfigurationError, match="telemetry has 2 objects Prometheus"):
        app.configure(telemetry=[prometheus(CollectorRegistry())])
    assert app.telemetry == before


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"listen": ["vidoe"]}, r"listen=: .*did you mean 'video'\?"),
        ({"listen": "video"}, r"write listen=\('video',\)"),
        ({"concurrency": 0}, "1 or more, not 0"),
        ({"concurrency": {"vidoe": 1}}, "did you mean 'video'"),
        ({"hooks": [3]}, "hooks is a list of functions"),
        ({"telemetry": 3}, "telemetry is an object such as"),
    ],
)
async def test_a_mistake_is_an_error_and_changes_nothing(make_app, options, match):
    app = make_app(concurrency=4)
    with pytest.raises(ConfigurationError, match=match):
        app.configure(**{"listen": ["default"], "concurrency": 1, **options})
    assert await slots_of(app) == {"default": 4, "video": 4}


async def test_an_app_is_configured_step_by_step_and_keeps_what_was_registered(make_app):
    app = make_app()
    app.register(lambda event: None, Placed, name="mine")
    app.configure(listen=["video"])
    app.configure(concurrency=7)
    assert app.handler_count(Placed) == 2
    assert await slots_of(app) == {"video": 7}
