"""What the plugin promises beside running a test: its options, its failures, no leaks, no cost where it is not used."""

import pytest

pytestmark = pytest.mark.once

SHOP = """
import dawdle
import msgspec


class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str


class VideoUploaded(msgspec.Struct, frozen=True):
    video_id: str


ran = []
registry = dawdle.Registry()


@dawdle.on_event
async def by_default(event: OrderPlaced) -> None:
    ran.append("default")


@registry.on_event
async def by_registry(event: OrderPlaced) -> None:
    ran.append("registry")


@registry.on_event(retry=dawdle.Retry(max_attempts=1))
async def fails(event: VideoUploaded) -> None:
    raise ConnectionError("the encoder is away")
"""

OPTIONS = """
import asyncio
import contextvars
import os
import threading

import dawdle
import pytest
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite
from dawdle.testing import TestApp, assert_dead_lettered, assert_handled
from shop import OrderPlaced, VideoUploaded, by_default, fails, ran, registry


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


async def test_the_default_registry(dawdle_app):
    await dawdle.signal(OrderPlaced("o-1"))
    await dawdle_app.idle()
    assert ran == ["default"]


@pytest.mark.dawdle(registry=registry)
async def test_a_registry_by_the_marker(dawdle_app):
    await dawdle.signal(OrderPlaced("o-1"))
    await dawdle_app.idle()
    assert ran == ["registry"]


@pytest.mark.dawdle(retry=dawdle.Retry(max_attempts=1))
class TestRegistryByTheFixture:
    @pytest.fixture
    def dawdle_registry(self):
        return registry

    @pytest.mark.dawdle(queues={"default": Memory(), "video": Memory()}, routes={VideoUploaded: "video"})
    async def test_queues(self, dawdle_app):
        await dawdle.signal(VideoUploaded("v-1"))
        await dawdle_app.advance(1)
        assert dawdle_app.signals[0].queues == ("video",)
        assert assert_dead_lettered(VideoUploaded, fails).attempts == 1


class TestSQLite:
    @pytest.fixture
    def dawdle_options(self, tmp_path):
        return {"backend": SQLite(tmp_path / "app.db")}

    async def test_it_goes_by_the_clock_of_the_app(self, dawdle_app):
        await dawdle.signal(OrderPlaced("o-1"), delay=3600)
        await dawdle_app.advance(hours=1)
        assert ran == ["default"]


class TestSQS:
    @pytest.fixture
    def dawdle_options(self, dawdle_sqs):
        return {"backend": dawdle_sqs}

    async def test_it_goes_by_the_clock_of_the_app(self, dawdle_app, dawdle_sqs):
        await dawdle.signal(OrderPlaced("o-1"), delay=3600)
        await dawdle_app.advance(minutes=59)
        assert (ran, dawdle_sqs.queue.delayed) == ([], 1)
        await dawdle_app.advance(minutes=1)
        assert ran == ["default"]
        assert len(dawdle_sqs.dead_queue) == 0
        assert os.environ["AWS_ACCESS_KEY_ID"] == "test"


def handlers():
    return [handler.name for handler in dawdle.default_registry]


BEFORE = handlers()
THREADS = [thread.name for thread in threading.enumerate()]
left = []


@pytest.mark.parametrize("number", [1, 2])
async def test_handlers_that_a_test_registers_are_gone_after_it(dawdle_app, number):
    @dawdle.on_event
    async def by_test(event: OrderPlaced) -> None:
        ran.append("test")

    @dawdle_app.register
    async def by_app(event: OrderPlaced) -> None:
        ran.append("app")

    await dawdle.signal(OrderPlaced("o-1"))
    await dawdle_app.idle()
    assert sorted(ran) == ["app", "default", "test"]
    left.append(len(asyncio.all_tasks()))


@pytest.fixture
async def placed(dawdle_app):
    return await dawdle.signal(OrderPlaced("o-1"))


class TestAsyncFixtures:
    @pytest.fixture
    async def cleaned(self, dawdle_app):
        await dawdle.signal(OrderPlaced("o-2"))
        yield self
        assert dawdle.current() is dawdle_app
        await dawdle_app.idle()

    async def test_they_are_inside_the_app(self, cleaned, placed, dawdle_app):
        assert cleaned is self
        assert dawdle_app.signals[1].event_id == placed
        await dawdle_app.idle()
        assert ran == ["default", "default"]

    def test_also_in_a_test_that_is_not_async(self, placed, dawdle_app):
        assert dawdle_app.signals[0].event_id == placed


async def test_a_handler_in_a_thread(dawdle_app):
    def in_thread(event: VideoUploaded) -> None:
        ran.append(threading.current_thread().name)

    dawdle_app.register(in_thread)
    await dawdle.signal(VideoUploaded("v-1"))
    await dawdle_app.idle()
    assert ran != ["MainThread"]


async def test_two_apps(dawdle_app):
    async with TestApp(registry=registry) as other:
        await other.signal(OrderPlaced("o-1"))
        await other.idle()
        assert ran == ["registry"]
        other.assert_handled(OrderPlaced)
        with pytest.raises(AssertionError):
            assert_handled(OrderPlaced)


async def test_a_plain_app_is_the_app_of_the_test(dawdle_app):
    async with dawdle.Dawdle() as app:
        assert app is dawdle_app


def test_nothing_is_left():
    assert handlers() == BEFORE
    assert left == [left[0]] * 2
    assert [thread.name for thread in threading.enumerate()] == THREADS
    assert not [variable.name for variable in contextvars.copy_context() if variable.name.startswith("dawdle")]
    with pytest.raises(dawdle.NoAppError):
        dawdle.current()
    assert dawdle.Dawdle.__aenter__.__module__ == "dawdle._app.app"
    with pytest.raises(dawdle.ConfigurationError, match="no app is under test here: let the test take"):
        assert_handled(OrderPlaced)
"""


def test_options_and_leaks(run):
    result = run("--asyncio-mode=auto", "--strict-markers", shop=SHOP, test_options=OPTIONS)
    result.assert_outcomes(passed=13)


def test_in_parallel(run):
    tests = OPTIONS.replace("left == [left[0]] * 2", "len(set(left)) < 2")  # another process may have run the other
    some = "by_the_clock or registers or two_apps or nothing_is_left or default_registry"
    result = run("--asyncio-mode=auto", "-n2", "-k", some, shop=SHOP, test_options=tests)
    result.assert_outcomes(passed=7)


FAILING = """
import asyncio

import dawdle
import pytest
import pytest_asyncio
from dawdle.testing import ManualClock, assert_handled, assert_signaled
from shop import OrderPlaced, VideoUploaded, registry


@pytest.fixture
def dawdle_registry():
    return registry


async def test_an_error_of_a_handler(dawdle_app):
    await dawdle.signal(VideoUploaded("v-1"))
    await dawdle_app.idle()


async def test_a_claim(dawdle_app):
    await dawdle.signal(OrderPlaced("o-1"))
    assert_signaled(OrderPlaced, order_id="o-2")


@pytest.mark.dawdle(rety=1)
async def test_an_unknown_option(dawdle_app):
    pass


@pytest.mark.dawdle(clock=ManualClock())
async def test_another_clock(dawdle_app):
    pass


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio(dawdle_app, anyio_backend):
    pass


def test_an_app_that_stays_entered(dawdle_app):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(dawdle_app.__aenter__())


@pytest_asyncio.fixture(loop_scope="module")
async def in_another_loop(dawdle_app):
    yield


@pytest.mark.asyncio
async def test_in_two_loops(dawdle_app, in_another_loop):
    pass
"""


def test_a_failure_is_read_without_knowing_dawdle(run):
    result = run("--show-capture=no", shop=SHOP, test_failing=FAILING)
    result.assert_outcomes(failed=4, passed=1, errors=3)
    result.stdout.fnmatch_lines(
        [
            "*_ test_an_error_of_a_handler _*",
            ">       await dawdle_app.idle()",
            "shop.py:*: ConnectionError",
            "*_ test_a_claim _*",
            '>       assert_signaled(OrderPlaced, order_id="o-2")',
            "E       AssertionError: no OrderPlaced(order_id='o-2') was signaled; what was:",
            "E           OrderPlaced(order_id='o-1')",
            "E         - order_id='o-2'",
            "E         + order_id='o-1'",
            "*_ test_on_trio*_*",
            "*this test asks anyio for trio, and dawdle runs on asyncio: let the fixture anyio_backend return*",
        ]
    )
    text = result.stdout.str()
    assert (
        "E       ConnectionError: the encoder is away\n"
        "E       raised by the handler shop.fails in attempt 1, on VideoUploaded "
    ) in text
    assert "a TestApp has no option rety: did you mean retry?" in text
    assert "dawdle_app goes by dawdle_clock: override that fixture to give it another clock" in text
    assert "is still entered, and its test is over: leave every block that enters it" in text
    assert "an async fixture runs in another loop (with pytest-asyncio give it the loop_scope of the test)" in text
    assert "without @pytest.mark.asyncio takes an async fixture that takes dawdle_app (write the marker)" in text
    assert "dawdle/_flow" not in text
    assert "testing/asserts.py" not in text


MISTAKEN = """
import asyncio

import dawdle
import pytest
from dawdle.testing import assert_not_signaled
from shop import OrderPlaced


class TestTestedApp:
    @pytest.fixture
    def dawdle_tested_app(self):
        return object()

    def test_it(self, dawdle_app):
        pass


class TestRegistry:
    @pytest.fixture
    def dawdle_registry(self):
        return [print]

    def test_it(self, dawdle_app):
        pass


class TestOptions:
    @pytest.fixture
    def dawdle_options(self):
        return {"concurency": 2}

    def test_it(self, dawdle_app):
        pass


@pytest.mark.dawdle(registry="shop")
def test_marker(dawdle_app):
    pass


def test_no_app_was_entered(dawdle_app):
    with pytest.raises(dawdle.ConfigurationError, match="the test's app is not entered: in a test that is not async"):
        assert_not_signaled(OrderPlaced)


def test_an_app_was_entered(dawdle_app):
    async def main():
        async with dawdle_app:
            assert_not_signaled(OrderPlaced)
    asyncio.run(main())
    assert_not_signaled(OrderPlaced)
"""


def test_a_fixture_that_is_overridden_wrongly_says_so(run):
    result = run(shop=SHOP, test_mistaken=MISTAKEN)
    text = result.stdout.str()
    assert "only a dawdle.Dawdle can be put under test, not a object: let dawdle_tested_app return the" in text
    assert "the fixture dawdle_registry returns a dawdle.Registry, not [<built-in function print>]" in text
    assert "a TestApp has no option concurency: did you mean concurrency?" in text
    assert "registry is a dawdle.Registry, not 'shop'" in text
    result.assert_outcomes(passed=2, errors=4)


UNUSED = """
import sys


def test_nothing_of_dawdle_is_loaded():
    assert "pytest_dawdle" in sys.modules
    assert not [name for name in sys.modules if name.partition(".")[0] in {"dawdle", "msgspec"}]
"""


def test_the_plugin_loads_nothing_where_it_is_not_used(run):
    run("-pno:asyncio", test_unused=UNUSED).assert_outcomes(passed=1)
