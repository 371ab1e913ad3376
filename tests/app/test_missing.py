"""A type that names its handlers: what one app lacks of them goes to the app that has it, also past the queue."""

import logging

import msgspec
import pytest

from dawdle import ConfigurationError, Registry, Retry
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError
from dawdle.events import event

pytestmark = pytest.mark.anyio


@event("apps.Placed", handlers=("mail", "crm"))
class Placed(msgspec.Struct):
    number: int = 0


class Shared(Memory):
    """A queue in memory that says that another process may have what this one lacks."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits = msgspec.structs.replace(self.limits, shared=True)
        self.broken = False

    async def send(self, messages):
        if self.broken:
            raise BackendError("the queue is away")
        return await super().send(messages)


def app_with(make_app, told, *names, queue=None, **options):
    registry = Registry()
    for name in names:

        def handler(event, name=name):
            told.append((name, event.number))

        async def handle(event, handler=handler):
            handler(event)

        registry.on_event(Placed, name=name, retry=Retry(initial=1))(handle)
    return make_app(queue, registry=registry, **options)


@pytest.mark.parametrize("direct", [False, True])
async def test_what_one_app_lacks_is_stored_for_the_app_that_has_it(make_app, clock, direct):
    queue, told = Shared(clock=clock, max_delay=900), []
    async with app_with(make_app, told, "mail", "audit", queue=queue) as first:
        await first.signal(Placed(1), direct=direct)
        await clock.advance(0.1)
        assert sorted(told) == [("audit", 1), ("mail", 1)]
        (copy,) = map(msgspec.json.decode, queue.messages())
        assert copy["dawdleowed"] == "crm"
    async with app_with(make_app, told, "crm", "audit", queue=queue) as second:
        await clock.advance(2)
        await second.idle()
    assert sorted(told) == [("audit", 1), ("crm", 1), ("mail", 1)]
    assert queue.messages() == []


async def test_a_direct_event_whose_copy_cannot_be_stored_is_in_flight_until_it_is(make_app, clock):
    queue, told = Shared(clock=clock, max_delay=900), []
    async with app_with(make_app, told, "mail", queue=queue, start_listener=False) as app:
        queue.broken = True
        await app.signal(Placed(1), direct=True)
        await clock.advance(10)
        assert (told, queue.messages(), app.health().in_hand) == ([("mail", 1)], [], 1)
        queue.broken = False
        await clock.advance(60)
        (copy,) = map(msgspec.json.decode, queue.messages())
        assert copy["dawdleowed"] == "crm"
        assert app.health().in_hand == 0


@pytest.mark.parametrize("direct", [False, True])
async def test_in_memory_it_is_told_that_nobody_else_can_have_it(make_app, caplog, direct):
    told = []
    async with app_with(make_app, told, "mail") as app:
        await app.signal(Placed(1), direct=direct)
        await app.idle()
    assert told == [("mail", 1)]
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "for crm: its type names this handler" in record.getMessage()
    assert "no other consumer" in record.getMessage()


async def test_a_handler_that_is_named_and_does_not_take_the_type_is_an_error(make_app):
    registry, wrong = Registry(), r"Placed names the handler 'mail' in handlers=.*does not take it"

    @registry.on_event(exclude=(Placed,), name="mail")
    async def everything_else(event): ...

    async with make_app(registry=registry) as app:
        with pytest.raises(ConfigurationError, match=wrong):
            await app.signal(Placed(1))

    @registry.on_event(Placed, name="crm")
    async def crm(event): ...

    with pytest.raises(ConfigurationError, match=wrong):
        async with make_app(registry=registry):
            pass
