"""The claims about the app of the running test, as functions: `assert_signaled(OrderPlaced, order_id="o-1")`."""

from collections.abc import Callable
from typing import TypeVar

from dawdle.testing.recording import DeadEvent, HandledEvent, SignaledEvent
from dawdle.testing.stand_in import test_app

__all__ = ["assert_dead_lettered", "assert_handled", "assert_not_signaled", "assert_signaled"]

E = TypeVar("E")


def assert_signaled(event_type: type[E], /, **fields: object) -> SignaledEvent[E]:
    """Fail unless an event of a type was signaled whose fields have these values. Return the first such.

    It is about the app of the running test. With several, call the method of the one that you mean.
    """
    __tracebackhide__ = True
    return test_app().assert_signaled(event_type, **fields)


def assert_not_signaled(event_type: type, /, **fields: object) -> None:
    """Fail if an event of a type was signaled whose fields have these values.

    Raises `ConfigurationError` if the app of the test was not entered: no such claim could fail.
    """
    __tracebackhide__ = True
    test_app().assert_not_signaled(event_type, **fields)


def assert_handled(
    event_type: type[E], handler: Callable[..., object] | str | None = None, /, **fields: object
) -> HandledEvent[E]:
    """Fail unless a handler has handled an event of a type whose fields have these values. Return the first run.

    `handler`: the function or its name; without it any handler counts. A run that failed does not.
    """
    __tracebackhide__ = True
    return test_app().assert_handled(event_type, handler, **fields)


def assert_dead_lettered(
    event_type: type[E], handler: Callable[..., object] | str | None = None, /, **fields: object
) -> DeadEvent[E]:
    """Fail unless an event of a type whose fields have these values was given up. Return the first such.

    `handler`: the function that failed for good, or its name; without it any handler counts, and none too.
    """
    __tracebackhide__ = True
    return test_app().assert_dead_lettered(event_type, handler, **fields)
