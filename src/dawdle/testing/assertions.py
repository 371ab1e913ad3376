"""What a test may claim about its app: events were signaled, handled, given up. A failure shows what was instead."""

import difflib
import pprint
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar, cast

from dawdle.errors import ConfigurationError, shown
from dawdle.testing.recording import DeadEvent, HandledEvent, Recording, SignaledEvent

__all__ = ["Assertions"]

E = TypeVar("E")
R = TypeVar("R", SignaledEvent[object], HandledEvent[object], DeadEvent[object])

MAX_SHOWN: Final = 10
"""Events that a failure lists. Of the others it gives the number."""

HandlerOrName = Callable[..., object] | str


class Assertions:
    """The claims of a test about one app. The values of `fields` are compared with `==`."""

    _recording: Recording

    def assert_signaled(self, event_type: type[E], /, **fields: object) -> SignaledEvent[E]:
        """Fail unless an event of a type was signaled whose fields have these values. Return the first such."""
        __tracebackhide__ = True
        found = _matching(self._recording.signals, event_type, fields)
        if not found:
            raise AssertionError(_failure("signaled", event_type, fields, self._recording.signals))
        return cast("SignaledEvent[E]", found[0])

    def assert_not_signaled(self, event_type: type, /, **fields: object) -> None:
        """Fail if an event of a type was signaled whose fields have these values.

        Raises `ConfigurationError` if the app was not entered: no such claim could fail.
        """
        __tracebackhide__ = True
        self._require_was_entered()
        found = _matching(self._recording.signals, event_type, fields)
        if found:
            what = _described(event_type, fields)
            raise AssertionError(
                f"{len(found)} {what} was signaled, and none should be:\n{_listed([each.event for each in found])}"
            )

    def assert_handled(
        self, event_type: type[E], handler: HandlerOrName | None = None, /, **fields: object
    ) -> HandledEvent[E]:
        """Fail unless a handler has handled an event of a type whose fields have these values. Return the first run.

        `handler`: the function or its name; without it any handler counts. A run that failed does not.
        """
        __tracebackhide__ = True
        handled, names = self._recording.handled, self._names(handler)
        found = [each for each in _matching(handled, event_type, fields) if names is None or each.handler in names]
        if not found:
            by = "" if names is None else f" by {' or '.join(names)}"
            of_handler = [each for each in handled if names is None or each.handler in names]
            failure = _failure(f"handled{by}", event_type, fields, of_handler)
            raise AssertionError(failure + self._what_became_of(event_type, names))
        return cast("HandledEvent[E]", found[0])

    def assert_dead_lettered(
        self, event_type: type[E], handler: HandlerOrName | None = None, /, **fields: object
    ) -> DeadEvent[E]:
        """Fail unless an event of a type whose fields have these values was given up. Return the first such.

        `handler`: the function that failed for good, or its name; without it any handler counts, and none too.
        """
        __tracebackhide__ = True
        dead, names = self._recording.dead, self._names(handler)
        found = [each for each in _matching(dead, event_type, fields) if names is None or each.handler in names]
        if not found:
            by = "" if names is None else f" by {' or '.join(names)}"
            failure = _failure(f"dead-lettered{by}", event_type, fields, dead)
            raise AssertionError(failure + self._what_became_of(event_type, names))
        return cast("DeadEvent[E]", found[0])

    def _names(self, handler: HandlerOrName | None) -> list[str] | None:
        """Return the names of the handlers that are meant. Raises `ConfigurationError` if the app has none such."""
        if handler is None:
            return None
        known = self._known_handlers()
        if isinstance(handler, str):
            names = [name for name, aliases, _ in known if handler in aliases or name.endswith(f".{handler}")]
        else:
            given: object = getattr(handler, "__func__", handler)
            names = [name for name, _, function in known if getattr(function, "__func__", function) == given]
        if not names:
            all_names = ", ".join(name for name, _, _ in known) or "none"
            raise ConfigurationError(f"the app has no handler {shown(handler)}; its handlers: {all_names}")
        return names

    def _known_handlers(self) -> Sequence[tuple[str, Sequence[str], object]]:
        """Return the handlers of the app: name, name and aliases, function."""
        raise NotImplementedError

    def _handles(self, event_type: type) -> bool:
        """Whether the app has a handler for a type."""
        raise NotImplementedError

    def _require_was_entered(self) -> None:
        """Raise `ConfigurationError` if the app was never entered, so that nothing can have been signaled."""
        raise NotImplementedError

    def _what_became_of(self, event_type: type, names: Sequence[str] | None) -> str:
        """Return the state of the events of a type, for a failure: what ran on them, and what waits."""
        recording, lines = self._recording, list[str]()
        for signal in recording.signals:
            if not isinstance(signal.event, event_type):
                continue
            runs = [run for (event_id, _), run in recording.runs.items() if event_id == signal.event_id]
            lines += [
                f"    {run.handler} {run.state}, on {_short(signal.event)}"
                for run in runs
                if names is None or run.handler in names
            ]
            if not runs and not self._handles(type(signal.event)):
                lines.append(
                    f"    the app has no handler for {_short(signal.event)}: import the module that has it, or "
                    f"name its registry"
                )
            elif not runs:
                due = f", and is due {signal.delay:g} s after its signal" if signal.delay else ""
                advice = f"await app.advance({signal.delay:g})" if signal.delay else "await app.idle()"
                lines.append(f"    no handler has run on {_short(signal.event)}: it waits{due}; {advice} runs it")
        if not lines:
            return ""
        return "\n  What became of those that were signaled:\n" + "\n".join(_some(lines))


def _matching(records: Sequence[R], event_type: type, fields: Mapping[str, object]) -> list[R]:
    """Return the records of the events of a type whose fields have these values."""
    if not isinstance(cast("object", event_type), type):
        raise ConfigurationError(f"name the class of the event, and its fields by name, not {shown(event_type)}")
    for name in fields:
        _require_field(event_type, name, [each.event for each in records if isinstance(each.event, event_type)])
    return [
        each
        for each in records
        if isinstance(each.event, event_type)
        and all(hasattr(each.event, name) and getattr(each.event, name) == value for name, value in fields.items())
    ]


def _require_field(event_type: type, name: str, events: Sequence[object]) -> None:
    """Raise `ConfigurationError` for a field that events of this type cannot have: no such claim could ever fail."""
    declared = any(name in vars(base).get("__annotations__", {}) for base in event_type.__mro__)
    if not declared and not hasattr(event_type, name) and not any(hasattr(each, name) for each in events):
        names = [each for base in reversed(event_type.__mro__) for each in vars(base).get("__annotations__", {})]
        near = difflib.get_close_matches(name, names, 1)
        hint = f": did you mean {near[0]}?" if near else f"; its fields: {', '.join(names) or 'none'}"
        raise ConfigurationError(f"{event_type.__qualname__} has no field {name!r}{hint}")


def _failure(verb: str, event_type: type, fields: Mapping[str, object], records: Sequence[R]) -> str:
    """Return the text of a failure: what was claimed, and what there was that comes nearest to it."""
    what = _described(event_type, fields)
    of_type = [each.event for each in records if isinstance(each.event, event_type)]
    if of_type:
        nearest = max(of_type, key=lambda event: sum(_has(event, *field) for field in fields.items()))
        which = "what was" if len(of_type) == 1 else f"the nearest of {len(of_type)}"
        return f"no {what} was {verb}; {which}:\n    {_short(nearest)}\n{_difference(nearest, fields)}"
    others = [each.event for each in records]
    if others:
        return f"no {what} was {verb}, but:\n{_listed(others)}"
    return f"no {what} was {verb}, and nothing else was"


def _difference(event: object, fields: Mapping[str, object]) -> str:
    """Return the fields that differ, as a diff: `-` is what the test expects, `+` what there is."""
    lines: list[str] = []
    for name, expected in fields.items():
        if not _has(event, name, expected):
            actual: object = getattr(event, name, "(no such field)")
            was, now = (f"{name}={pprint.pformat(value)}".splitlines() for value in (expected, actual))
            if was == now:  # two objects of one repr that are not equal
                was, now = [f"{was[0]} ({type(expected).__qualname__})"], [f"{now[0]} ({type(actual).__qualname__})"]
            lines += [f"  {line}".rstrip() for line in difflib.ndiff(was, now) if not line.startswith("?")]
    return "\n".join(lines)


def _has(event: object, name: str, value: object) -> bool:
    return hasattr(event, name) and bool(getattr(event, name) == value)


def _described(event_type: type, fields: Mapping[str, object]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    return f"{event_type.__qualname__}({values})" if values else event_type.__qualname__


def _listed(events: Sequence[object]) -> str:
    return "\n".join(_some([f"    {_short(each)}" for each in events]))


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - MAX_SHOWN
    return [*lines[:MAX_SHOWN], f"    … and {more} more"] if more > 0 else list(lines)


def _short(event: object) -> str:
    text = repr(event) if event is not None else "an event that this test has not signaled"
    return text if len(text) <= 200 else f"{text[:200]}…"
