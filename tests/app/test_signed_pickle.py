"""Pickled calls: any callable runs on a node with the key, and on no other a byte is unpickled."""

import functools
import sys
import types
from contextvars import ContextVar

import msgspec
import pytest

import dawdle
import tests.handlers.test_functions
from dawdle import ArgumentError, ConfigurationError, EventError, NotAnEventError, Retry, SignedPickle
from dawdle.abc import Outgoing
from dawdle.hooks import HandlerFinished, Signaled
from tests.app.test_missing import Shared

pytest.importorskip("cloudpickle")
pytestmark = pytest.mark.anyio

KEY, OTHER = "k" * 16, b"o" * 16
RAN = []
HERE = f"pickled:{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def ran():
    RAN.clear()
    return RAN


def note(*args, **kwargs):
    RAN.append((*args, *kwargs.items()))


class Bomb:
    """Says when it is unpickled."""

    def __reduce__(self):
        return note, ("unpickled",)


async def letters_of(app):
    return [(letter.event_type, letter.error) async for letter in app.dead_letters()]


async def test_a_lambda_runs(running, capsys):
    async with running(functions=SignedPickle(KEY)) as app:
        await dawdle.call(lambda: print("Hello World!"))
        await app.idle()
    assert capsys.readouterr().out == "Hello World!\n"


async def test_any_callable_runs_with_its_arguments(running, ran):
    pickle, number = SignedPickle(KEY), 5

    async def wait(a, b=2):
        note("async", a, b, number)
        await dawdle.call(lambda: note("from within"))

    class Box:
        def put(self, value):
            note("method", value)

    async with running(functions=pickle) as app:
        await app.call(wait, 1, b=3)
        await app.call(functools.partial(note, 1), 2, x=3)
        await app.call(Box().put, "v")
        await app.call(pickle(note), "typed")
        await app.idle()
    assert sorted(map(str, ran)) == sorted(
        map(str, [("async", 1, 3, 5), ("from within",), (1, 2, ("x", 3)), ("method", "v"), ("typed",)])
    )


async def test_pickled_calls_have_the_options_of_calls(running, ran, clock, queue):
    pickle = SignedPickle(KEY)
    async with running(functions=pickle) as app:
        await app.call_after(5, lambda: note("after"))
        assert await app.call(pickle(lambda: note("options")).options(delay=10, id="mine")) == "mine"
        await app.call(pickle(lambda: note("direct")).options(direct=True))
        await app.idle()  # a callable that is no coroutine function runs in a thread
        await clock.advance(6)
        await app.idle()
        assert ran == [("direct",), ("after",)]
        await clock.advance(5)
        await app.idle()
    assert ran == [("direct",), ("after",), ("options",)]


async def test_a_registered_function_goes_by_its_name_all_the_same(running, registry, ran, queue):
    @registry.function(name="work")
    async def work(number: int):
        note(number)

    async with running(functions=SignedPickle(KEY)) as app:
        await app.call(work, 1)
        assert msgspec.json.decode(queue.messages()[0])["type"] == "call:work"
        with pytest.raises(ArgumentError):
            await app.call(work, "1")
        await app.idle()
    assert ran == [(1,)]


async def test_a_pickled_callable_may_refer_to_a_registered_function(running, ran, moments):
    pickle = SignedPickle(KEY)
    assert pickle(tests.handlers.test_functions.importable) is tests.handlers.test_functions.importable
    async with running(functions=pickle) as app:
        await app.call(lambda: dawdle.call(tests.handlers.test_functions.importable.options(id="inner"), "a.png"))
        await app.call(note, pickle(note).options(delay=5))
        await app.idle()
    ((given,),) = ran
    assert (given.function, given.signature, given.call_options) == (note, None, {"delay": 5})
    signaled = [(each.event_type, each.event_id) for each in moments if isinstance(each, Signaled)]
    assert ("call:tests.handlers.test_functions.importable", "inner") in signaled


async def test_the_name_of_a_partial_shows_no_argument(running, queue):
    async with running(functions=SignedPickle(KEY), start_listener=False) as app:
        await app.call(functools.partial(note, "secret"))
        (body,) = queue.messages()
    assert msgspec.json.decode(body)["data"]["name"] == "partial"


async def test_an_app_without_it_takes_no_such_callable(running):
    async with running() as app:
        with pytest.raises(NotAnEventError, match=r"is a lambda: .* Only an app with functions=dawdle.SignedPickle"):
            await app.call(lambda: 1)
        with pytest.raises(ConfigurationError, match=r"takes no pickled call of note: give it Dawdle\(functions="):
            await app.call(SignedPickle(KEY)(note), 1)


@pytest.mark.parametrize("make_queue", [None, Shared])
async def test_a_node_without_it_dead_letters_a_pickled_call(running, registry, queue, clock, ran, make_queue):
    @registry.on_event()
    async def every(event: object):
        note("event")

    queue = queue if make_queue is None else make_queue(clock=clock, max_delay=900)
    async with running(queue, functions=SignedPickle(KEY), start_listener=False) as app:
        await app.call(note, Bomb())
    async with running(queue) as app:
        await app.idle()
        assert await letters_of(app) == [
            (HERE, "it is a pickled call, and this app has no functions=dawdle.SignedPickle(key)")
        ]
    assert ran == []


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda body: body, id="another key"),
        pytest.param(lambda body: {**body, "id": "another"}, id="another id"),
        pytest.param(lambda body: {**body, "data": {**body["data"], "name": "other"}}, id="another name"),
        pytest.param(lambda body: {**body, "data": {**body["data"], "pickled": "YWJj"}}, id="other bytes"),
        pytest.param(lambda body: {**body, "data": {**body["data"], "signature": ""}}, id="no signature"),
    ],
)
async def test_a_wrong_signature_is_dead_lettered_and_no_byte_is_unpickled(running, queue, ran, change):
    signs_with = OTHER
    async with running(functions=SignedPickle(KEY), start_listener=False) as app:
        await app.call(note, Bomb())
        (delivery,) = await queue.receive(1, 0)
        await queue.ack([delivery.receipt])
        body = msgspec.json.decode(delivery.body)
        changed = change(body)
        if changed is not body:
            signs_with = KEY
        await queue.send([Outgoing(msgspec.json.encode(changed))])
    async with running(functions=SignedPickle(signs_with)) as app:
        await app.idle()
        ((event_type, reason),) = await letters_of(app)
    assert event_type == HERE
    assert reason.startswith("Reject: the signature of the pickled call of ")
    assert ran == []


async def test_data_that_is_no_pickled_call_is_dead_lettered(running, clock, ran):
    queue = Shared(clock=clock, max_delay=900)
    async with running(queue, functions=SignedPickle(KEY)) as app:
        await queue.send(
            [Outgoing(msgspec.json.encode({"specversion": "1.0", "id": "1", "source": "s", "type": HERE, "data": {}}))]
        )
        await app.idle()
        ((event_type, reason),) = await letters_of(app)
    assert (event_type, reason) == (HERE, "the data does not fit PickledCall: Object missing required field `name`")


async def test_an_old_key_is_accepted_while_nodes_change(running, queue, ran):
    async with running(functions=SignedPickle(OTHER), start_listener=False) as app:
        await app.call(note, 1)
    async with running(functions=SignedPickle(KEY, old_keys=[OTHER])) as app:
        await app.call(note, 2)
        await app.idle()
    assert sorted(ran) == [(1,), (2,)]


async def test_a_call_that_cannot_be_unpickled_has_failed_and_is_retried(running, clock, ran, moments):
    module = types.ModuleType("tests_missing_module")
    module.note = note
    exec("def work(): note('ran')", vars(module))
    sys.modules[module.__name__] = module
    try:
        async with running(functions=SignedPickle(KEY), retry=Retry(initial=5, jitter=0), start_listener=False) as app:
            await app.call(module.work)
            del sys.modules[module.__name__]
            await app.start_listener()
            await app.idle()
            ends = [each for each in moments if isinstance(each, HandlerFinished)]
            assert [(each.outcome, each.error) for each in ends] == [
                ("failed", "ModuleNotFoundError: No module named 'tests_missing_module'")
            ]
            sys.modules[module.__name__] = module
            await clock.advance(6)
            await app.idle()
    finally:
        sys.modules.pop(module.__name__, None)
    assert ran == [("ran",)]


async def test_a_call_of_another_python_is_left_to_a_node_that_has_it(running, clock, ran):
    queue = Shared(clock=clock, max_delay=900)
    async with running(queue, functions=SignedPickle(KEY), unclaimed=3600) as app:
        await queue.send(
            [Outgoing(msgspec.json.encode({"specversion": "1.0", "id": "1", "source": "s", "type": "pickled:2.7"}))]
        )
        await clock.advance(600)
        assert await letters_of(app) == []
        assert [msgspec.json.decode(body)["type"] for body in queue.messages()] == ["pickled:2.7"]
        await clock.advance(4 * 3600)
        ((event_type, reason),) = await letters_of(app)
    assert (event_type, reason) == ("pickled:2.7", "no node knows an event type 'pickled:2.7', for 3600 s")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SignedPickle("short"), "key has 5 bytes, and at least 16 are needed"),
        (lambda: SignedPickle(5), "key is bytes or text, not int"),
        (lambda: SignedPickle(KEY, old_keys=KEY), r"old_keys is a sequence of keys: write old_keys=\[KEY\]"),
        (lambda: SignedPickle(KEY, old_keys=["short"]), "each of old_keys has 5 bytes"),
        (lambda: dawdle.Dawdle(functions=KEY), r"functions is a dawdle.SignedPickle\(key\), not a str$"),
        (lambda: dawdle.Dawdle(functions=SignedPickle), r"functions is a dawdle.SignedPickle\(key\), not a type$"),
    ],
)
async def test_what_cannot_sign_is_refused_and_no_key_is_shown(make, text):
    with pytest.raises(ConfigurationError, match=text) as caught:
        make()
    assert "short" not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_key_is_not_shown_and_does_not_travel():
    pickle = SignedPickle(KEY)
    assert repr(pickle) == "<SignedPickle>"


def of_several():
    yield 1


@pytest.mark.parametrize(
    ("given", "args", "error", "text"),
    [
        (note, (ContextVar("var"),), EventError, "cannot pickle note and its arguments: cannot pickle '.*ContextVar'"),
        (lambda a: a, (), ArgumentError, r"missing a required argument: 'a'. It is .*<lambda>\(a\)$"),
        (of_several, (), NotAnEventError, "of_several is a generator, and a call runs it once: remove the yield"),
        ("text", (), NotAnEventError, "not 'text'"),
        (note, (SignedPickle(KEY),), EventError, "a SignedPickle holds a key, which must not travel"),
    ],
)
async def test_what_cannot_be_called_pickled_is_refused_before_it_is_stored(running, queue, given, args, error, text):
    async with running(functions=SignedPickle(KEY), start_listener=False) as app:
        with pytest.raises(error, match=text):
            await app.call(given, *args)
        assert queue.messages() == []


async def test_a_coroutine_is_refused_and_closed(running, ran):
    async def work():
        note("ran")

    async with running(functions=SignedPickle(KEY)) as app:
        with pytest.raises(NotAnEventError, match=r"write `call\(work, …\)` instead of `call\(work\(…\)\)`"):
            await app.call(work())
        await app.idle()
    assert ran == []


async def test_an_app_that_takes_pickled_calls_alone_receives(running, ran):
    async with running(functions=SignedPickle(KEY)) as app:
        assert app.handler_count() == 0
        await app.call(note, 1)
        await app.idle()
    assert ran == [(1,)]
