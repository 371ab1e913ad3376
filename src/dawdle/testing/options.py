"""The options of a `TestApp`: those of `Dawdle`, typed, and read. Nothing is entered or run here."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import timedelta
from difflib import get_close_matches
from math import inf
from typing import Final, TypedDict, cast

from dawdle import Context, Dawdle, Registry, Retry, SignedPickle, Telemetry
from dawdle.abc import Backend, Codec
from dawdle.backends.memory import Memory
from dawdle.errors import ConfigurationError
from dawdle.hooks import Hook
from dawdle.testing.clock import ManualClock

__all__ = ["QUEUE_OPTIONS", "AppOptions", "fields_of", "like_in_memory", "read_app"]

QUEUE_OPTIONS: Final = {"backend", "queues", "routes", "listen", "concurrency"}

Around = Callable[[Context], AbstractAsyncContextManager[object]]


class TestMemory(Memory):
    """A queue in memory that does not warn of what is left in it: a test is over when it has seen enough."""

    __test__ = False

    def _log_left(self, left: int) -> None:
        pass


class AppOptions(TypedDict, total=False):
    """What `TestApp(…)` takes and the fixture `dawdle_options` returns: any options of `Dawdle(…)`."""

    backend: Backend
    queues: Mapping[str, Backend]
    routes: Mapping[type, str | Sequence[str]]
    listen: Collection[str]
    registry: Registry
    start_listener: bool
    concurrency: int | Mapping[str, int]
    retry: Retry
    timeout: float | timedelta | None
    grace: float | timedelta
    unclaimed: float | timedelta
    source: str
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]]
    codec: Codec
    hooks: Sequence[Hook]
    lifespan: Callable[[Dawdle], AbstractAsyncContextManager[object]]
    around: Around | Sequence[Around]
    carry: Mapping[str, ContextVar[str] | ContextVar[str | None]]
    clock: ManualClock
    signing_keys: Mapping[str, bytes | str]
    functions: SignedPickle
    telemetry: Telemetry | Sequence[Telemetry]


def read_app(options: AppOptions) -> Dawdle:
    """Return a plain app of some options, which checks them; its queue is in memory unless they say another one."""
    known = AppOptions.__annotations__
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        near = [each for name in unknown for each in get_close_matches(name, known, 1)]
        hint = f": did you mean {', '.join(near)}?" if near else "; it takes those of Dawdle(…)"
        raise ConfigurationError(f"a TestApp has no option {', '.join(unknown)}{hint}")
    given = dict(options)
    if "queues" not in given:
        given.setdefault("backend", TestMemory())
    return Dawdle(cast("Backend | None", given.pop("backend", None)), **given)  # type: ignore[arg-type]  # as above


def fields_of(options: AppOptions) -> set[str]:
    """Return the fields of an app's settings that some options say."""
    fields = {"queues" if name in QUEUE_OPTIONS else name for name in options}
    return {"signer" if name == "signing_keys" else name for name in fields}


def like_in_memory(backend: Backend, before: Backend | None = None) -> Memory:
    """Return a queue in memory that can do what another queue can, as far as that is known before it is open.

    It is the one that a `TestApp` had `before`, with what waits in it, if that can do the same.
    """
    made = _like_in_memory(backend)
    return before if isinstance(before, TestMemory) and before.limits == made.limits else made


def _like_in_memory(backend: Backend) -> TestMemory:
    try:
        limits = backend.limits
    except Exception:  # noqa: BLE001 - a backend may know them only once it is open
        return TestMemory()
    if limits.ordered:
        return TestMemory(ordered=True, max_body=limits.max_body, max_delay=0 if backend.delayed is None else inf)
    return TestMemory(max_body=limits.max_body, max_delay=limits.max_delay or inf)
