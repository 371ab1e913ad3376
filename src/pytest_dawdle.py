"""dawdle's pytest plugin, which pytest loads by itself: the fixtures, and the two hooks that enter `dawdle_app`.

It is a module of its own, beside the package: pytest loads it in every project where dawdle is installed, and it loads
dawdle only for a test that takes one of the fixtures.
"""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from dawdle import Dawdle, Registry
    from dawdle.testing import AppOptions, ManualClock, Signals, TestApp
    from dawdle.testing.sqs_queue import SQSTestQueue

APP = "dawdle_app"


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest of the marker."""
    config.addinivalue_line(
        "markers", "dawdle(**options): options of the app that the fixture dawdle_app is, such as retry or registry"
    )


@pytest.fixture
def dawdle_tested_app() -> "Dawdle | None":
    """Override it to name an app of your own: `dawdle_app` is that app then, with its options, in memory."""
    return None


@pytest.fixture
def dawdle_registry() -> "Registry | None":
    """Override it to name the registry of `dawdle_app`; by default the one of `dawdle.on_event`, or of your own app."""
    return None


@pytest.fixture
def dawdle_options() -> "AppOptions":
    """Override it to give `dawdle_app` options of `Dawdle(…)`: queues, routes, retry, lifespan and so on."""
    return {}


@pytest.fixture
def dawdle_clock() -> "ManualClock":
    """The clock that `dawdle_app`, its queues and `dawdle_sqs` go by. `await dawdle_app.advance(…)` moves it."""
    from dawdle.testing import ManualClock  # noqa: PLC0415 - see the head of this module

    return ManualClock()


@pytest.fixture
def dawdle_app(
    request: pytest.FixtureRequest,
    dawdle_tested_app: "Dawdle | None",
    dawdle_registry: "Registry | None",
    dawdle_options: "AppOptions",
    dawdle_clock: "ManualClock",
) -> "Generator[TestApp]":
    """An app in memory, on a clock that the test moves. It is entered and listens within each `async def` test.

    In a test that is not async, a web app enters it in its lifespan. Every `Dawdle` that is entered in the test is it.
    """
    import dawdle  # noqa: PLC0415 - as above
    from dawdle.testing import TestApp  # noqa: PLC0415
    from dawdle.testing.stand_in import standing_in, under_test  # noqa: PLC0415

    options = cast("AppOptions", {"clock": dawdle_clock, **dawdle_options})
    if dawdle_registry is not None:
        _require_registry(dawdle_registry, "the fixture dawdle_registry returns")
        options["registry"] = dawdle_registry
    for marker in reversed(list(request.node.iter_markers("dawdle"))):
        if marker.args:
            raise pytest.UsageError("write the options of @pytest.mark.dawdle by name, such as retry=…")
        options = cast("AppOptions", {**options, **marker.kwargs})
    if options.get("clock") is not dawdle_clock:
        raise pytest.UsageError("dawdle_app goes by dawdle_clock: override that fixture to give it another clock")
    with ExitStack() as stack:
        stack.enter_context(dawdle.default_registry.restored())
        if "registry" in options:
            _require_registry(options["registry"], "registry is")
            stack.enter_context(options["registry"].restored())
        if dawdle_tested_app is None:
            app = stack.enter_context(standing_in(TestApp(**options)))
        else:
            app = stack.enter_context(under_test(dawdle_tested_app, **options))
        yield app
        if app.is_entered:
            raise RuntimeError(f"{app!r} is still entered, and its test is over: leave every block that enters it")


@pytest.fixture
def dawdle_sqs(dawdle_clock: "ManualClock", monkeypatch: pytest.MonkeyPatch) -> "SQSTestQueue":
    """A backend: a queue on an SQS server of the test's own, on the test's clock. Give it to the app:

    `dawdle_options` returns `{"backend": dawdle_sqs}`, or a test opens it by `async with dawdle_sqs:`.
    """
    from dawdle.testing.sqs_queue import SQSTestQueue  # noqa: PLC0415 - as above, and it loads the code of AWS

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")  # a real one must not travel to a server of a test
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return SQSTestQueue(dawdle_clock)


@pytest.fixture
def dawdle_signals(dawdle_app: "TestApp") -> "Signals":
    """What was signaled in the test, in order."""
    return dawdle_app.signals


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let `dawdle_app` be the first fixture of a test: an app that another one enters must be it."""
    names: list[str] = getattr(item, "fixturenames", [])
    if APP in names:
        names.remove(APP)
        names.insert(0, APP)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: "pytest.FixtureDef[object]", request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Let an async fixture that takes `dawdle_app` run inside it, as an async test does."""
    function = fixturedef.func
    if APP not in fixturedef.argnames or not _is_async(function):
        return (yield)
    app = request.getfixturevalue(APP)
    if not _is_ours(app):
        return (yield)
    instance = request.instance
    if inspect.ismethod(function) and type(function.__self__) is type(instance):
        bound = function.__func__.__get__(instance)
    else:
        bound = function
    names = fixturedef.argnames
    _replace(fixturedef, _fixture_inside(app, bound), names)
    try:
        return (yield)
    finally:
        _replace(fixturedef, function, names)  # the plugin for async tests may have replaced both, for good


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Let an `async def` test run inside its app, in the event loop and the task that it runs in itself."""
    # Not by an async fixture: each plugin has its own kind of them, and none runs one in the loop of every test.
    if isinstance(item, pytest.Function) and APP in item.fixturenames:
        function, app = item.obj, item.funcargs.get(APP)
        if inspect.iscoroutinefunction(function) and _is_ours(app):
            _require_asyncio(item.funcargs.get("anyio_backend"))
            item.obj = _test_inside(cast("TestApp", app), function)
            try:
                return (yield)
            finally:
                item.obj = function
    return (yield)


@pytest.hookimpl
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an `async def` test that takes `dawdle_app`, and that no other plugin was asked to run."""
    if APP not in pyfuncitem.fixturenames or not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}))
    return True


def _test_inside(app: "TestApp", function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """Return an `async def` function that enters the app, awaits another function, and leaves the app."""

    @functools.wraps(function)
    async def run(*args: object, **kwargs: object) -> object:
        async with app:
            return await function(*args, **kwargs)

    return run


def _fixture_inside(app: "TestApp", function: Callable[..., object]) -> Callable[..., AsyncGenerator[object]]:
    """Return an async generator function that does what an async fixture does, inside the app."""

    @functools.wraps(function)
    async def run(*args: object, **kwargs: object) -> AsyncGenerator[object]:
        async with app:
            made = function(*args, **kwargs)
            if not inspect.isasyncgen(made):
                yield await cast("Awaitable[object]", made)
                return
            values = cast("AsyncGenerator[object]", made)
            yield await anext(values)
            async for _ in values:
                raise pytest.UsageError(f"the fixture {function.__qualname__} yields more than once")

    return run


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_ours(app: object) -> bool:
    """Whether a fixture dawdle_app is a `TestApp`. A test suite may have one of its own under this name."""
    from dawdle.testing import TestApp  # noqa: PLC0415 - as above

    return isinstance(app, TestApp)


def _replace(fixturedef: "pytest.FixtureDef[object]", function: Callable[..., object], names: tuple[str, ...]) -> None:
    # Final for users, and what every plugin for async tests replaces.
    fixturedef.func, fixturedef.argnames = function, names  # type: ignore[misc]


def _require_registry(registry: object, what: str) -> None:
    import dawdle  # noqa: PLC0415 - as above

    if not isinstance(registry, dawdle.Registry):
        raise dawdle.ConfigurationError(f"{what} a dawdle.Registry, not {registry!r}")


def _require_asyncio(anyio_backend: object) -> None:
    """Fail a test that anyio runs on another library than asyncio. `anyio_backend`: None where anyio runs it not."""
    name = cast("object", anyio_backend[0]) if isinstance(anyio_backend, tuple) else anyio_backend
    if name not in {None, "asyncio"}:
        pytest.fail(
            f"this test asks anyio for {name}, and dawdle runs on asyncio: let the fixture anyio_backend return "
            f"'asyncio'",
            pytrace=False,
        )
