"""An event of several queues: stored in all or an error that says where, and each copy is for its own handlers."""

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry, Retry, event
from dawdle.abc import Fault, Outgoing
from dawdle.backends.memory import Memory
from dawdle.errors import BackendError, ConfigurationError, EventTooLargeError, SignalError
from dawdle.hooks import DeadLettered, Signaled
from tests.app.events import Placed

pytestmark = pytest.mark.anyio

ROUTES = {Placed: ("default", "audit")}


class Failing(Memory):
    """Stores nothing while it has an answer for it."""

    answer = None

    async def send(self, batch):
        if isinstance(self.answer, Exception):
            raise self.answer
        return await super().send(batch) if self.answer is None else [self.answer] * len(batch)


class Shared(Memory):
    """A queue that outlives its process and that other nodes read, too."""

    def __init__(self, **options):
        super().__init__(**options)
        self.limits = msgspec.structs.replace(self.limits, shared=True, durable=True, max_wait=20, max_batch=10)


@pytest.fixture
def queues(clock):
    return {"default": Failing(clock=clock), "audit": Failing(clock=clock)}


@pytest.fixture
def app_of(queues, registry, clock, moments):
    def make(**options):
        defaults = {"queues": queues, "routes": ROUTES, "registry": registry, "clock": clock, "hooks": [moments.append]}
        return Dawdle(**{**defaults, **options})

    return make


def bodies(queue):
    return [msgspec.json.decode(body) for body in queue.messages()]


async def test_the_copy_names_its_queue_and_says_the_same_event(app_of, queues, moments):
    async with app_of(start_listener=False) as app:
        event_id = await app.signal(Placed(1), headers={"tenant": "one"}, delay=60)
        (event,), (copy,) = bodies(queues["default"]), bodies(queues["audit"])
        assert copy == {**event, "dawdleonly": "audit"}
        assert (event["id"], event["tenant"], "dawdleonly" in event) == (event_id, "one", False)
        told = [(each.queue, each.event_id, each.delay) for each in moments if isinstance(each, Signaled)]
        assert sorted(told) == [("audit", event_id, 60), ("default", event_id, 60)]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (BackendError("no route to host", uncertain=False), "stored in default, and not in audit: no route to host"),
        (Fault("throttled", "too many"), "stored in default, and not in audit: too many"),
        (BackendError("reset", uncertain=True), "stored in default, and perhaps in audit: reset"),
    ],
    ids=["not sent", "refused", "uncertain"],
)
async def test_an_error_says_which_queues_have_stored_the_event(app_of, queues, moments, answer, text):
    queues["audit"].answer = answer
    async with app_of(start_listener=False) as app:
        with pytest.raises(SignalError, match=text) as raised:
            await app.signal(Placed(), id="e-1")
        error = raised.value
        assert error.stored_in == {"e-1": ("default",)}
        assert (error.ids, error.stored, error.not_stored, error.uncertain) == (("e-1",), (), (), ("e-1",))
        assert isinstance(error.failed["e-1"], BackendError)
        assert [each.queue for each in moments if isinstance(each, Signaled)] == ["default"]


async def test_an_event_that_no_queue_has_stored_is_not_stored(app_of, queues):
    queues["audit"].answer = queues["default"].answer = BackendError("down", uncertain=False)
    async with app_of(start_listener=False) as app:
        with pytest.raises(
            SignalError, match="could not store .*stored nowhere.*not in default, not in audit"
        ) as raised:
            await app.signal(Placed(), id="e-1")
        assert (raised.value.not_stored, raised.value.stored_in) == (("e-1",), {})


async def test_of_many_events_each_is_told_by_the_queues_that_have_it(app_of, queues):
    queues["audit"].answer = Fault("throttled", "too many")
    async with app_of(start_listener=False) as app:
        with pytest.raises(SignalError, match="1 of 1 events may or may not|is not in all") as raised:
            await app.signal_many([Placed()])
        assert list(raised.value.stored_in.values()) == [("default",)]
        queues["default"].answer, queues["audit"].answer = Fault("refused", "no"), None
        with pytest.raises(SignalError) as raised:
            await app.signal_many([Placed(), Placed()])
        assert list(raised.value.stored_in.values()) == [("audit",), ("audit",)]
        assert raised.value.uncertain == raised.value.ids


async def test_an_event_that_is_too_large_for_one_queue_is_stored_in_none(app_of, queues, clock):
    queues["audit"] = Memory(clock=clock, max_body=5000)
    async with app_of(start_listener=False) as app:
        large = {"x": "y" * 2000}
        for signaling in (app.signal(Placed(), headers=large), app.signal_many([Placed()], headers=large)):
            with pytest.raises(EventTooLargeError, match="the queue takes 904"):
                await signaling
        assert not any(queue.messages() for queue in queues.values())


async def test_a_direct_event_runs_here_and_its_copies_are_stored_first(app_of, queues, registry):
    ran = []

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx):
        ran.append(("receipt", ctx.queue))

    @registry.on_event(Placed, name="log", queue="audit")
    async def log(event, ctx):
        ran.append(("log", ctx.queue))

    async with app_of() as app:
        await app.signal(Placed(), direct=True)
        await app.idle()
        assert sorted(ran) == [("log", "audit"), ("receipt", "default")]
        queues["audit"].answer = BackendError("down", uncertain=False)
        with pytest.raises(SignalError, match="could not store"):
            await app.signal(Placed(), direct=True)
        await app.idle()
        assert len(ran) == 2


async def test_a_copy_stays_one_over_retries_and_letters_and_goes_back_to_its_own_queue(
    app_of, queues, registry, clock
):
    ran, broken = [], True

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx):
        ran.append(("receipt", ctx.queue, ctx.attempt))

    @registry.on_event(Placed, name="log", queue="audit", retry=Retry(max_attempts=2, initial=1, jitter=0))
    async def log(event, ctx):
        ran.append(("log", ctx.queue, ctx.attempt))
        if broken:
            raise ValueError("the disk is full")

    async with app_of() as app:
        await app.signal(Placed())
        await app.idle()
        (retry,) = bodies(queues["audit"])
        assert (retry["dawdleonly"], retry["dawdleowed"], retry["dawdleattempt"]) == ("audit", "log", 2)
        await clock.advance(2)
        await app.idle()
        (letter,) = [each async for each in app.dead_letters()]
        assert (letter.queue, letter.handler, letter.attempts) == ("audit", "log", 2)
        broken = False
        assert await app.redrive() == 1
        await app.idle()
        assert [each for each in ran if each[0] == "receipt"] == [("receipt", "default", 1)]
        assert [each for each in ran if each[0] == "log"] == [
            ("log", "audit", 1),
            ("log", "audit", 2),
            ("log", "audit", 1),
        ]


async def test_a_copy_survives_a_node_that_has_none_of_its_handlers_and_its_letter_runs_no_others(
    registry, clock, moments
):
    queues = {name: Shared(clock=clock) for name in ("default", "audit")}
    ran = []

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx):
        ran.append(("receipt", ctx.queue))

    options = {"queues": queues, "routes": ROUTES, "clock": clock, "unclaimed": 60, "hooks": [moments.append]}
    async with Dawdle(registry=registry, **options) as app:
        await app.signal(Placed())
        await clock.advance(200)
        assert ran == [("receipt", "default")]
        (dead,) = [each for each in moments if isinstance(each, DeadLettered)]
        assert (dead.queue, dead.handler) == ("audit", None)
        assert dead.reason == "no node has a handler for 'Placed' on the queue 'audit', for 60 s"
        (letter,) = bodies(queues["audit"].dead_letters)
        assert (letter["dawdleonly"], "dawdleowed" in letter) == ("audit", False)

        @registry.on_event(Placed, name="log", queue="audit")
        async def log(event, ctx):
            ran.append(("log", ctx.queue))

        assert await app.redrive() == 1
        await app.idle()
        assert ran == [("receipt", "default"), ("log", "audit")]


async def test_a_trial_of_a_copy_is_still_one(registry, clock):
    queues = {name: Shared(clock=clock) for name in ("default", "audit")}
    ran = []

    @registry.on_event(Placed, name="receipt")
    async def receipt(event, ctx):
        ran.append(("receipt", ctx.queue))

    @registry.on_event(Placed, name="log", queue="audit")
    async def log(event, ctx):
        ran.append(("log", ctx.queue))

    async with Dawdle(queues=queues, routes=ROUTES, registry=registry, clock=clock, start_listener=False) as app:
        await app.signal(Placed())
    for _ in range(4):  # processes that end before they say what came of it
        assert len(await queues["audit"].receive(10, 0)) == 1
        await clock.advance(61)
    async with Dawdle(queues=queues, routes=ROUTES, registry=registry, clock=clock):
        await clock.advance(60)  # an open receive of the other queue, too, must end before it runs in isolation
        assert sorted(ran) == [("log", "audit"), ("receipt", "default")]
        assert not any(queue.messages() for queue in queues.values())


def copy_for(queue, number=0):
    body = {"specversion": "1.0", "id": "e", "source": "/shop", "type": "Placed", "data": {"number": number}}
    return Outgoing(msgspec.json.encode({**body, "dawdleonly": queue}))


@pytest.fixture
def ran(registry):
    ran = []
    for name, queue in {"receipt": None, "log": "audit", "bill": "default"}.items():

        @registry.on_event(Placed, name=name, **({} if queue is None else {"queue": queue}))
        async def handler(event, ctx, name=name):
            ran.append((name, ctx.queue))

    return ran


async def test_a_copy_on_another_queue_than_it_names_runs_the_handlers_of_that_one(app_of, queues, ran):
    async with app_of() as app:
        await queues["default"].send([copy_for("audit")])  # moved there by hand
        await app.idle()
        assert ran == [("log", "default")]


async def test_a_copy_that_names_no_queue_of_this_app_is_for_the_queue_on_which_it_arrives(app_of, queues, ran):
    async with app_of() as app:
        await queues["audit"].send([copy_for("ledger")])  # what its sender calls this queue
        await app.idle()
        assert ran == [("log", "audit")]


async def test_an_app_whose_only_queue_has_no_name_handles_copies_with_all_of_its_handlers(clock, registry):
    queue, ran = Memory(clock=clock), []

    @registry.on_event(Placed, name="log")
    async def log(event):
        ran.append(event)

    async with Dawdle(queue, registry=registry, clock=clock) as app:
        await queue.send([copy_for("audit", 7)])
        await app.idle()
        assert ran == [Placed(7)]


async def test_an_owed_copy_goes_by_the_name_of_its_handler_whatever_queue_that_is_bound_to(app_of, queues, ran):
    owed = msgspec.json.encode({**msgspec.json.decode(copy_for("audit").body), "dawdleowed": "bill"})
    async with app_of() as app:
        await queues["audit"].send([Outgoing(owed)])
        await app.idle()
        assert ran == [("bill", "audit")]


async def test_a_name_with_its_queue_is_looked_for_on_the_copy_and_a_name_alone_on_the_event(clock):
    """A node that lacks a named handler of a later queue stores a copy there, and the first queue owes it nothing."""

    @event("queue_copies.shipped", handlers=("receipt", "bill@audit", "ledger@audit"))
    class Shipped(msgspec.Struct, frozen=True):
        number: int = 0

    queues = {"default": Shared(clock=clock), "audit": Shared(clock=clock)}
    ran: list[tuple[str, str]] = []

    def node(*names):
        registry = Registry()
        for name, queue in names:

            @registry.on_event(Shipped, name=name, queue=queue)
            async def handler(event, ctx: Context, name=name):
                ran.append((name, ctx.queue))

        return Dawdle(queues=queues, routes={Shipped: ("default", "audit")}, registry=registry, clock=clock)

    async with node(("receipt", None), ("bill", "audit")) as old:
        await old.signal(Shipped())
        await clock.advance(1)
        assert sorted(ran) == [("bill", "audit"), ("receipt", "default")]
        (owed,) = bodies(queues["audit"])
        assert (owed["dawdleowed"], owed["dawdleonly"], bodies(queues["default"])) == ("ledger", "audit", [])
    async with node(("receipt", None), ("bill", "audit"), ("ledger", "audit")):
        await clock.advance(600)
    assert ran[2:] == [("ledger", "audit")]
    assert bodies(queues["audit"]) == []


async def test_a_name_alone_for_a_handler_of_a_later_queue_is_an_error_at_the_start(queues):
    @event("queue_copies.returned", handlers=("bill",))
    class Returned(msgspec.Struct, frozen=True):
        number: int = 0

    registry = Registry()
    registry.on_event(Returned, name="bill", queue="audit")(lambda event: None)
    app = Dawdle(queues=queues, routes={Returned: ("default", "audit")}, registry=registry)
    with pytest.raises(ConfigurationError, match=r"names the handler 'bill'.*write handlers=\('bill@audit',\)"):
        await app.__aenter__()


async def test_a_copy_owes_a_handler_only_what_it_takes(clock, registry):
    """The name in a message is its sender's word."""
    queue, ran = Shared(clock=clock), []

    @registry.function(name="delete_user")
    async def delete_user(user: int) -> None:
        ran.append(user)

    @registry.on_event(Placed, name="note")
    async def note(event):
        ran.append(event)

    forged = {**msgspec.json.decode(copy_for("default").body), "dawdleowed": "delete_user", "data": {"number": "*"}}
    async with Dawdle(queue, registry=registry, clock=clock):
        await queue.send([Outgoing(msgspec.json.encode(forged))])
        await clock.advance(10)
        (kept,) = bodies(queue)
    assert ran == []
    assert (kept["dawdleowed"], "dawdlesince" in kept) == ("delete_user", True)


async def test_a_direct_event_that_fails_after_its_copies_are_stored_says_where_they_are(app_of, queues, monkeypatch):
    async with app_of() as app:

        async def refused(*_):
            raise BackendError("the app has died", uncertain=False)

        monkeypatch.setattr(app._runtime.direct, "run", refused)
        app.register(lambda event: None, Placed, name="here")
        with pytest.raises(SignalError, match="is stored in audit, and not handled here: the app has died") as caught:
            await app.signal(Placed(), direct=True, id="e-1")
        assert (caught.value.uncertain, caught.value.stored_in) == (("e-1",), {"e-1": ("audit",)})
