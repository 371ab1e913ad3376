"""The options of `Dawdle(…)`, checked. A mistake is raised where it was written, before anything runs."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, cast

import msgspec

from dawdle._app.lifespans import Lifespan
from dawdle._app.queue_map import QueueMap
from dawdle._app.telemetry import TelemetryCaller
from dawdle._flow.handler_scope import HandlerRun
from dawdle._handlers.around import Around
from dawdle._handlers.carry import Carry, carried, require_apart
from dawdle._handlers.options import timeout_of
from dawdle._handlers.registry import Registry
from dawdle._handlers.signature import is_async
from dawdle._handlers.signed_pickle import SignedPickle
from dawdle._rules.codec import JSON, MessagePack
from dawdle._rules.envelope import check_headers
from dawdle._rules.retry import Retry
from dawdle._rules.signing import Signer
from dawdle.abc import Clock, Codec
from dawdle.errors import ConfigurationError, require_bool, shown, to_seconds
from dawdle.hooks import Hook

__all__ = ["DEFAULT_GRACE", "DEFAULT_SOURCE", "DEFAULT_UNCLAIMED", "Headers", "Settings"]

DEFAULT_GRACE: Final = 25.0
DEFAULT_UNCLAIMED: Final = 86400.0
DEFAULT_SOURCE: Final = "dawdle"

Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one app."""

    queues: QueueMap
    clock: Clock
    registry: Registry
    start_listener: bool
    retry: Retry
    timeout: float | None
    grace: float
    unclaimed: float
    source: str
    headers: Headers
    codec: Codec
    hooks: Sequence[Hook]
    lifespan: Lifespan | None
    around: tuple[Around, ...]
    carry: Carry
    signer: Signer
    functions: SignedPickle | None
    telemetry: TelemetryCaller | None

    def __repr__(self) -> str:
        return f"<Settings of an app on {self.queues}>"

    def __post_init__(self) -> None:
        _require(
            _is_one(self.clock, Clock),
            f"clock is a dawdle.abc.Clock, such as dawdle.testing.ManualClock(), not {self.clock!r}",
        )
        _require(
            _is_one(self.codec, Codec), f"codec is a dawdle.abc.Codec, such as dawdle.MessagePack(), not {self.codec!r}"
        )
        _require(isinstance(self.registry, Registry), f"registry is a dawdle.Registry, not {self.registry!r}")
        _require(isinstance(self.retry, Retry), f"retry is a dawdle.Retry(…), not {self.retry!r}")
        # The struct is frozen, and durations may be given as a timedelta; from here on all are in seconds.
        require_bool(self.start_listener, "start_listener is")
        for name in ("grace", "unclaimed"):
            msgspec.structs.force_setattr(self, name, to_seconds(getattr(self, name), f"{name} is"))
        if self.timeout is not None:
            msgspec.structs.force_setattr(self, "timeout", timeout_of(self.timeout))
        _require(bool(self.source) and isinstance(self.source, str), f"source is text, not {self.source!r}")
        _require(
            isinstance(self.hooks, Collection) and all(map(callable, self.hooks)),
            f"hooks is a list of functions that take one argument, not {self.hooks!r}",
        )
        for hook in self.hooks:
            _require(
                not is_async(hook),
                f"a hook is not awaited, and {shown(hook)} is async: make it a def function, and let it create a task "
                f"if it must await",
            )
        _require(
            self.lifespan is None or callable(self.lifespan),
            f"lifespan is a function that takes the app and returns an async context manager, not {self.lifespan!r}",
        )
        _require(
            self.functions is None or isinstance(self.functions, SignedPickle),
            # Not shown: it may be the key.
            f"functions is a dawdle.SignedPickle(key), not a {type(self.functions).__qualname__}",
        )
        if not callable(self.headers):
            good = isinstance(self.headers, Mapping)
            _require(good, f"headers is a mapping or a function that returns one, not {self.headers!r}")
            check_headers(self.headers)
            require_apart(self.carry, self.headers)

    @property
    def codecs(self) -> dict[str, Codec]:
        """Every codec that this app can read with, by media type."""
        # The last one wins: an app's own codec may replace a built-in one of the same media type.
        return {each.content_type: each for each in (JSON(), MessagePack(), self.codec)}

    def all_headers(self, given: Mapping[str, str] | None, where: HandlerRun | None) -> Mapping[str, str]:
        """Return the headers of an event: those of its trace, of `carry`, of the app, and of the signal, which win.

        `where`: the run of a handler that signals it.

        Raises `ConfigurationError`.
        """
        # First: it is for the event whose start was told just now.
        traced = None
        if self.telemetry is not None:
            traced = self.telemetry.headers(None if where is None else where.work.envelope.trace)
        own = self.headers
        if callable(own):
            own = own()
            if not isinstance(cast("object", own), Mapping):
                raise ConfigurationError(
                    f"the function in headers= returns a mapping of names to text, not {shown(own)}"
                )
            if self.carry:
                require_apart(self.carry, own)
        if given is None:
            both = own
        elif isinstance(cast("object", given), Mapping):
            both = {**own, **given}
        else:
            raise ConfigurationError(f"headers is a mapping of names to text, not {shown(given)}")
        if both:
            check_headers(both)
        if traced:
            return {**traced, **carried(self.carry), **both}
        return {**carried(self.carry), **both} if self.carry else both


def _is_one(value: object, protocol: type) -> bool:
    """Whether a value fulfils a protocol. A class that was not called has the same methods, and does not count."""
    return isinstance(value, protocol) and not isinstance(value, type)


def _require(good: bool, otherwise: str) -> None:
    if not good:
        raise ConfigurationError(otherwise)
