"""Lets one `TestApp` stand in for the apps that the code under test enters, and says which app a test means."""

# pyright: reportPrivateUsage=false
# It looks into apps, and turns one into another, so that no test and no app has to know how.

from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, Final, Unpack, cast
from unittest.mock import patch

from dawdle import Dawdle
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.testing.app import TestApp
from dawdle.testing.options import QUEUE_OPTIONS, AppOptions

__all__ = ["standing_in", "test_app", "under_test"]

_apps: list[TestApp] = []
"""The apps that stand in for others, the innermost last."""

COMPARED: Final = ("registry", "retry", "timeout", "around", "carry", "headers", "lifespan", "functions")


def test_app() -> TestApp:
    """Return the app of the running test. Raises `ConfigurationError` if there is none."""
    if not _apps:
        raise ConfigurationError(
            "no app is under test here: let the test take the fixture dawdle_app, write `with under_test(app):`, or "
            "call app.assert_signaled(…) of a TestApp of your own"
        )
    return _apps[-1]


test_app.__test__ = False  # type: ignore[attr-defined]  # pytest takes its name for that of a test


@contextmanager
def under_test(app: Dawdle, /, **options: Unpack[AppOptions]) -> Generator[TestApp]:
    """Within the block, your app is a `TestApp`, with the options that it has and its queues in memory.

    It is the same object: `shop.events.signal`, its web app's lifespan and `dawdle.signal` all use it. `options`
    replace its own. It must not be entered yet. After the block it is as it was.
    """
    if type(app) is not Dawdle:
        raise ConfigurationError(
            f"only a dawdle.Dawdle can be put under test, not a {type(app).__qualname__}: let dawdle_tested_app return "
            f"the dawdle.Dawdle itself, not what enters it"
        )
    if app._loop is not None:
        raise ConfigurationError(f"{app!r} is entered already: put it under test before that")
    made = TestApp.__new__(TestApp)
    made._set_up(app, app, options)
    own = app.__dict__
    app.__class__, app.__dict__ = TestApp, made.__dict__
    try:
        with app._settings.registry.restored(), standing_in(cast("TestApp", app)) as test:
            yield test
    finally:
        app.__class__, app.__dict__ = Dawdle, own


@contextmanager
def standing_in(test: TestApp) -> Generator[TestApp]:
    """Within the block, every `Dawdle` that is entered is this app, and the module's `assert_…` mean it."""
    played: dict[int, tuple[dict[str, object], Dawdle]] = {}
    leave_plain = Dawdle.__aexit__  # perhaps that of a block around this one

    def play(app: Dawdle) -> TestApp:
        if not isinstance(app, TestApp):
            if type(app) is not Dawdle:
                raise ConfigurationError(f"a test's app cannot stand in for a {type(app).__qualname__}: {app!r}")
            _take_options(test, app)
            played[id(app)] = app.__dict__, app
            app.__class__, app.__dict__ = TestApp, test.__dict__
        return cast("TestApp", app)

    async def enter(app: Dawdle) -> Dawdle:
        return await TestApp.__aenter__(play(app))

    async def leave(
        app: Dawdle, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(app, TestApp):
            await TestApp.__aexit__(app, kind, error, trace)
        else:  # it was entered before the block
            await leave_plain(app, kind, error, trace)

    _apps.append(test)
    try:
        with patch.multiple(Dawdle, create=True, __aenter__=enter, __aexit__=leave), _other_ways_in(play):
            yield test
    finally:
        _apps.remove(test)
        for own, app in played.values():
            app.__class__, app.__dict__ = Dawdle, own


def _other_ways_in(play: Callable[[Dawdle], TestApp]) -> AbstractContextManager[object]:
    """Let the calls that note something in the app before they enter it note it in the test's app."""
    run_plain = Dawdle.run  # perhaps that of a block around this one

    def with_lifespan(
        app: Dawdle, lifespan: Callable[[Dawdle], AbstractAsyncContextManager[object]]
    ) -> AbstractAsyncContextManager[Dawdle]:
        return TestApp.with_lifespan(play(app), lifespan)

    def connected(app: Dawdle) -> AbstractAsyncContextManager[Dawdle]:
        return TestApp.connected(play(app))

    def run(app: Dawdle, **options: Any) -> None:
        run_plain(play(app), **options)

    return patch.multiple(Dawdle, with_lifespan=with_lifespan, connected=connected, run=run)


def _take_options(test: TestApp, other: Dawdle) -> None:
    """Let the test's app have the options of the app that it stands in for.

    Raises `ConfigurationError` if it is too late for that: the test's app is entered, and has others.
    """
    if test._loop is None and not test._is_named:
        test._become(other)
        test._stands_in = True
    elif test._stands_in:
        _require_alike(test, other)
    elif lacking := _lacking(test, other):
        if test._loop is not None:
            raise ConfigurationError(
                f"the test's app stands in for {other!r}, and lacks what that one has: {', '.join(lacking)}. Keep your "
                f"app in a variable, and name it in conftest.py by a fixture: `@pytest.fixture` above "
                f"`def dawdle_tested_app(): return shop.app`"
            )
        test._become(other)


def _lacking(test: TestApp, other: Dawdle) -> list[str]:
    """Return the options that another app was given, and the test's app has otherwise."""
    own, plain, mine = map(_seen, (other, Dawdle(Memory()), test._taken))
    lacking = [name for name, value in own.items() if value not in (plain[name], mine[name])]
    return lacking + ["handlers of its own"] * other._handlers.has_own


def _require_alike(test: TestApp, other: Dawdle) -> None:
    """Raise `ConfigurationError` if two apps would be one app of the test, although a test would see the difference.

    What the test itself has said holds for all of them.
    """
    own, mine = _seen(other), _seen(test._taken)
    said = {"queues" if name in QUEUE_OPTIONS else name for name in test._options}
    differing = [name for name, value in own.items() if value != mine[name] and name not in said]
    differing += ["handlers of its own"] * (list(other._handlers._own) != list(test._taken._handlers._own))
    if differing:
        raise ConfigurationError(
            f"the test's app stands in for {other!r}, while it stands in for another app, and the two differ in "
            f"{', '.join(differing)}. Make one of them a dawdle.testing.TestApp(…), which stays an app of its own"
        )


def _seen(app: Dawdle) -> dict[str, object]:
    """Return the options that a test would miss, in a form that can be compared.

    The rest a `TestApp` has its own way, or they change nothing that a test sees.
    """
    settings = app._settings
    telemetry, queues = settings.telemetry, settings.queues
    return {
        **{name: getattr(settings, name) for name in COMPARED},
        "codec": settings.codec.content_type,
        "queues": (set(queues.backends), queues.routes) if queues.is_named else None,
        "signing_keys": settings.signer._keys,
        "hooks": tuple(settings.hooks),
        "telemetry": () if telemetry is None else telemetry.parts,
    }
