"""Every mistake in the map of queues is an error at the start, and its text says what to write."""

import dataclasses
import gc

import msgspec
import pytest

from dawdle import Context, Dawdle, Registry
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from tests.app.events import Cancelled, Placed

pytestmark = pytest.mark.anyio


class Uploaded(msgspec.Struct, frozen=True):
    name: str = ""


class Named(Memory):
    """A queue with an identity, in a place."""

    def __init__(self, identity, location=None):
        super().__init__()
        self.identity = identity
        if location is not None:
            self.location = location


ONE = Memory()
BOTH = {"default": Memory(), "video": Memory()}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"backend": Memory(), "queues": BOTH},
            r"a backend or queues=, not both: write queues={'default': backend, …}",
        ),
        ({"queues": {}}, "queues is a mapping of names to backends, such as .*, not {}"),
        ({"queues": [Memory()]}, "queues is a mapping of names to backends"),
        ({"queues": "video"}, "queues is a mapping of names to backends, .*, not 'video'"),
        ({"queues": {"default": "sqs"}}, r"queues\['default'\] is a dawdle.abc.Backend, .*, not 'sqs'"),
        ({"queues": {"default": Memory}}, r"queues\['default'\] is a dawdle.abc.Backend"),
        ({"queues": {"": Memory()}}, "the name of a queue is 1 to 64 of a-z, 0-9, '.', '_' and '-', not ''"),
        ({"queues": {"Video Queue": Memory()}}, "the name of a queue is .*, not 'Video Queue'"),
        ({"queues": {"v" * 65: Memory()}}, "the name of a queue is 1 to 64"),
        ({"queues": {1: Memory()}}, "the name of a queue is .*, not 1"),
        (
            {"queues": {"default": ONE, "video": ONE}},
            "one backend object the names 'default' and 'video'.*a second object",
        ),
        ({"queues": {"video": Memory()}}, "has the queues video, and no event goes to any of them: write routes="),
        (
            {"queues": BOTH, "routes": {Uploaded: "vidoe"}},
            r"routes\[Uploaded\]: there is no queue 'vidoe'; this app has default, video: did you mean 'video'\?",
        ),
        ({"queues": BOTH, "routes": {Uploaded: ("video", "x")}}, r"routes\[Uploaded\]: there is no queue 'x'"),
        (
            {"queues": BOTH, "routes": {Uploaded: ()}},
            r"routes\[Uploaded\] is the name of a queue, or several names, not \(\)",
        ),
        (
            {"queues": BOTH, "routes": {Uploaded: 5}},
            r"routes\[Uploaded\] is the name of a queue, or several names, not 5",
        ),
        ({"queues": BOTH, "routes": {"Uploaded": "video"}}, "routes= asks for 'Uploaded', which is not an event type"),
        ({"queues": BOTH, "routes": {int: "video"}}, "routes= asks for <class 'int'>, which is not an event type"),
        ({"queues": BOTH, "routes": [Uploaded]}, "routes is a mapping of event classes to names of queues"),
        ({"routes": {Uploaded: "video"}}, r"this app has default: write Dawdle\(queues={'default': …, 'video': …}\)"),
        ({"queues": BOTH, "listen": ("vidoe",)}, "listen=: there is no queue 'vidoe'; this app has default, video"),
        (
            {"queues": BOTH, "listen": "video"},
            r"listen is the names of the queues .* not 'video': write listen=\('video',\)",
        ),
        ({"queues": BOTH, "listen": 5}, "listen is the names of the queues"),
        (
            {"queues": BOTH, "concurrency": {"vidoe": 4}},
            "concurrency=: there is no queue 'vidoe'; this app has default",
        ),
        (
            {"queues": BOTH, "concurrency": {"video": 0}},
            r"concurrency\['video'\] is how many messages .*1 or more, not 0",
        ),
        ({"concurrency": True}, "concurrency is how many messages of a queue may be in flight at once"),
    ],
)
async def test_a_mistake_in_the_map_is_an_error_where_it_is_written(options, match):
    with pytest.raises(ConfigurationError, match=match):
        Dawdle(**options)


def handled(*types, **options):
    registry = Registry()

    @registry.on_event(*types, name="resize", **options)
    async def handler(event): ...

    return registry


@pytest.mark.parametrize(
    ("registry", "options", "match"),
    [
        (
            handled(Uploaded, queue="vidoe"),
            {},
            r"handler resize runs on the queue 'vidoe', and this app has default, video: did you mean 'video'\?",
        ),
        (
            handled(Uploaded, queue="video"),
            {},
            "no event that it takes goes there: write routes={Uploaded: 'video'}, or remove queue=",
        ),
        (handled(Uploaded, queue="default"), {"routes": {Uploaded: "video"}}, "no event that it takes goes there"),
        (handled(queue="video"), {"routes": {Placed: "default"}}, "no event that it takes goes there"),
        (
            handled(Placed, queue="video", exclude=(Uploaded,)),
            {"routes": {Uploaded: "video"}},
            "no event that it takes",
        ),
        (
            handled(Placed),
            {"queues": {"video": Memory()}, "routes": {Uploaded: "video"}},
            "Placed has no route, and this app has no queue 'default': write routes={Placed: …}, or add",
        ),
        (
            handled(Uploaded),
            {"queues": {"default": Named("shop/orders"), "video": Named("shop/orders")}},
            "the queues 'default' and 'video' of this app are the same queue, shop/orders: give it one name",
        ),
        (
            handled(Uploaded),
            {"queues": {"default": Named("shop/orders", "west"), "video": Named("shop/orders", "west")}},
            "are the same queue, shop/orders",
        ),
    ],
)
async def test_a_mistake_that_shows_with_the_handlers_or_the_queues_is_an_error_at_the_start(registry, options, match):
    options = {"queues": {"default": Memory(), "video": Memory()}, **options}
    with pytest.raises(ConfigurationError, match=match):
        await Dawdle(registry=registry, **options).__aenter__()


class Base:
    pass


@dataclasses.dataclass(frozen=True)
class Derived(Base):
    number: int = 0


@pytest.mark.parametrize(
    ("registry", "routes"),
    [
        (handled(Uploaded, queue="video"), {Uploaded: ("default", "video")}),
        (handled(Base, queue="video"), {Derived: "video"}),
        (handled(Derived, queue="video"), {Base: "video"}),
        (handled(Placed, Uploaded, queue="video"), {Uploaded: "video"}),
        (handled(queue="video"), {Uploaded: "video"}),
        (handled(queue="default"), {Uploaded: "video"}),
        (handled(object, queue="video"), {object: "video"}),
        (handled(Base, queue="default"), {Derived: "video"}),
    ],
)
async def test_a_handler_that_an_event_may_reach_is_no_mistake(registry, routes):
    async with Dawdle(queues={"default": Memory(), "video": Memory()}, routes=routes, registry=registry):
        pass


async def test_two_queues_of_one_identity_in_two_places_are_two_queues():
    queues = {"default": Named("shop/orders", "west"), "video": Named("shop/orders", "east")}
    async with Dawdle(queues=queues, registry=Registry()) as app:
        assert app.health().healthy


async def test_without_a_default_queue_an_event_without_a_route_is_refused_where_it_is_signaled():
    queue = Memory()
    async with Dawdle(queues={"video": queue}, routes={Uploaded: "video"}, registry=Registry()) as app:
        with pytest.raises(ConfigurationError, match="Placed has no route, and this app has no queue 'default'"):
            await app.signal(Placed())
        with pytest.raises(ConfigurationError, match="Cancelled has no route"):
            await app.signal_many([Uploaded(), Cancelled()])
        assert queue.messages() == []
        await app.signal(Placed(), queue="video")
        assert len(queue.messages()) == 1


async def test_a_handler_that_is_registered_late_with_a_wrong_queue_is_an_error():
    async def resize(event: Placed) -> None: ...

    queues = {"default": Memory(), "video": Memory()}
    async with Dawdle(queues=queues, registry=Registry()) as app:
        with pytest.raises(ConfigurationError, match="no event that it takes goes there"):
            app.register(resize, queue="video")


async def test_a_function_runs_on_its_own_queue_without_any_route(clock):
    registry, ran, queues = Registry(), [], {"default": Memory(clock=clock), "heavy": Memory(clock=clock)}

    @registry.function(name="resize", queue="heavy")
    async def resize(name: str, ctx: Context | None = None) -> None:
        ran.append((name, ctx.queue))

    async with Dawdle(queues=queues, registry=registry, clock=clock) as app:
        await app.call(resize, "a.png")
        await app.idle()
        assert ran == [("a.png", "heavy")]
    wrong = Registry()
    wrong.function(name="resize", queue="haevy")(resize.function)
    with pytest.raises(ConfigurationError, match="function resize runs on the queue 'haevy', and this app has default"):
        await Dawdle(queues={"default": Memory(), "heavy": Memory()}, registry=wrong).__aenter__()


async def test_a_route_of_what_a_handler_excludes_does_not_reach_it():
    registry = handled(Base, queue="video", exclude=(Derived,))
    options = {"queues": {"default": Memory(), "video": Memory()}, "routes": {Derived: "video"}}
    with pytest.raises(ConfigurationError, match="no event that it takes goes there"):
        await Dawdle(registry=registry, **options).__aenter__()


async def test_a_class_that_was_signaled_once_is_not_kept_alive_by_the_routes(clock):
    async with Dawdle(
        queues={"default": Memory(clock=clock)}, routes={Placed: "default"}, registry=Registry(), start_listener=False
    ) as app:
        app._queues.destinations(type("Passing", (Placed,), {}))
        gc.collect()
        assert list(app._queues.known) == []
