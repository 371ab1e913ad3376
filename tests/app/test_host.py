"""What an app offers to its host: a lifespan of the host's inside its own, a ping of its queues, and its state."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from dawdle import BackendError, ConfigurationError, Dawdle
from dawdle.abc import Fault
from dawdle.backends.memory import Memory
from tests.app.events import Placed

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def yields_text(app):
    yield "of the host"


async def test_a_hosts_lifespan_is_inside_the_apps_own(registry):
    said = []

    def saying(name):
        @asynccontextmanager
        async def lifespan(app):
            said.append(f"{name} enters, {app.health().state}")
            await app.signal(Placed())
            yield name
            said.append(f"{name} leaves, {app.health().state}")

        return lifespan

    app = Dawdle(Memory(), registry=registry, lifespan=saying("own"))
    async with app.with_lifespan(saying("host")) as entered:
        assert entered is app
        assert app.health().state == "running"
    assert said == [
        "own enters, entering",
        "host enters, entering",
        "host leaves, leaving",
        "own leaves, leaving",
    ]
    assert app.health().state == "not entered"


async def test_a_hosts_lifespan_is_for_one_entering(registry, clock):
    found = []

    @registry.on_event
    async def note(event: Placed, ctx) -> None:
        try:
            found.append(ctx.state(str))
        except ConfigurationError as error:
            found.append("has no lifespan" in str(error))

    app = Dawdle(Memory(), registry=registry)
    async with app.with_lifespan(yields_text):
        await app.signal(Placed())
        await app.idle()
    async with app:
        await app.signal(Placed())
        await app.idle()
    assert found == ["of the host", True]


async def test_an_app_that_is_entered_takes_no_other_lifespan(registry):
    app = Dawdle(Memory(), registry=registry)
    async with app:
        with pytest.raises(ConfigurationError, match="is entered already"):
            async with app.with_lifespan(yields_text):
                pass
        assert app.health().state == "running"


async def test_a_hosts_lifespan_that_is_none_is_told(registry):
    async def forgotten(app):
        pass

    app = Dawdle(Memory(), registry=registry)
    with pytest.raises(ConfigurationError, match="write @contextlib.asynccontextmanager above it"):
        async with app.with_lifespan(forgotten):
            pass
    assert app.health().state == "not entered"


class Away(Memory):
    """A queue that does not answer, but for what it is told to."""

    error: Exception | None = None

    async def ping(self):
        if self.error is not None:
            raise self.error

    async def send(self, batch):
        if self.error is not None:
            return [Fault("unavailable", str(self.error)) for _ in batch]
        return await super().send(batch)


async def test_a_ping_returns_when_every_queue_has_answered(registry):
    async with Dawdle(queues={"default": Memory(), "video": Away()}, registry=registry) as app:
        await app.ping()


async def test_a_ping_raises_the_error_of_a_queue_with_its_name_if_there_are_several(registry):
    video = Away()
    video.error = BackendError("no such queue", kind="missing")
    async with Dawdle(queues={"default": Memory(), "video": video}, registry=registry) as app:
        with pytest.raises(BackendError, match=r"^no such queue \(queue video\)$") as caught:
            await app.ping()
    assert (caught.value.kind, caught.value.uncertain) == ("missing", False)


@pytest.mark.parametrize("error", [OSError("a cable"), asyncio.CancelledError()], ids=repr)
async def test_a_ping_turns_any_error_of_a_backend_into_a_backend_error(error, registry):
    queue = Away()
    async with Dawdle(queue, registry=registry) as app:
        queue.error = error
        with pytest.raises(BackendError) as caught:
            await app.ping()
        queue.error = None
        await app.ping()
    assert caught.value.kind == "unavailable"


async def test_a_queue_that_only_counts_is_asked_for_its_count(registry):
    class Counting(Memory):
        async def count(self):
            raise BackendError("no answer")

    async with Dawdle(Counting(), registry=registry) as app:
        with pytest.raises(BackendError, match=r"^no answer$"):
            await app.ping()


async def test_a_ping_that_is_answered_ends_the_failures_of_a_queue_that_was_away(registry, clock):
    queue = Away(clock=clock)
    async with Dawdle(queue, registry=registry, clock=clock, start_listener=False) as app:
        queue.error = BackendError("away")
        for _ in range(2):
            with pytest.raises(Exception, match="away"):
                await app.signal(Placed())
            await clock.advance(61)
        assert not app.health().healthy
        queue.error = None
        await app.ping()
        assert app.health().healthy


async def test_an_app_that_is_not_entered_has_no_queue_to_ping(registry):
    with pytest.raises(ConfigurationError, match="async with app"):
        await Dawdle(Memory(), registry=registry).ping()
