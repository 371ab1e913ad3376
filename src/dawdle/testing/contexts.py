"""Makes the `Context` for a handler that a test calls as the plain function that it is. Runs nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TypeVar, cast

from dawdle import Context
from dawdle.errors import ConfigurationError
from dawdle.events import wire_name

__all__ = ["context"]

S = TypeVar("S")

DEFAULT_ATTEMPTS = 12


class _TestContext(Context):
    """A context whose headers and state are given."""

    def __init__(self, states: Sequence[object], headers: Mapping[str, str], **facts: object) -> None:
        super().__init__(body=b"", state=None, **facts)  # type: ignore[arg-type]  # `context` has typed them
        self._states = tuple(states)
        self.__dict__["headers"] = MappingProxyType(dict(headers))

    def state(self, kind: type[S]) -> S:
        """Return what the test gave, or an `around` provided."""
        for value in self._states:
            if isinstance(value, kind):
                return value
        has = ", ".join(type(each).__qualname__ for each in self._states) or "none"
        raise ConfigurationError(
            f"the handler asks for the state {kind.__qualname__}, and the test's context has {has}: write "
            f"context(state=…)"
        )

    def provide(self, value: object) -> None:
        """Let `state` find a value: of an `around` that a test enters with this context."""
        self._states = (value, *self._states)


def context(
    event: object | None = None,
    *,
    attempt: int = 1,
    max_attempts: int = DEFAULT_ATTEMPTS,
    handler: str = "test",
    queue: str = "default",
    event_id: str = "test-event",
    signaled_at: datetime | None = None,
    headers: Mapping[str, str] | None = None,
    state: object | Sequence[object] = (),
) -> Context:
    """Return a `Context` for a handler that a test calls itself: `await book(event, dawdle.testing.context())`.

    - `event`: gives `event_type` its name on the wire; without it that is `test`.
    - `signaled_at`: an aware datetime; default: now.
    - `state`: what `ctx.state(Type)` finds by its type, an object or several of them in a list or tuple. `ctx.provide`
      may be called too, so an `around` can be tested with it.
    """
    if attempt < 1 or max_attempts < attempt:
        raise ConfigurationError(f"attempt is 1 to max_attempts, not {attempt} of {max_attempts}")
    several = isinstance(state, (list, tuple))
    states = tuple(cast("Sequence[object]", state)) if several else (state,)
    return _TestContext(
        states,
        headers or {},
        event_id=event_id,
        event_type="test" if event is None else wire_name(type(event)),
        handler=handler,
        queue=queue,
        attempt=attempt,
        max_attempts=max_attempts,
        signaled_at=datetime.now(UTC) if signaled_at is None else signaled_at,
    )
