"""What a `TestApp` has signaled and handled, kept for the test. It decides nothing, and fails no test."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, TypeVar, overload
from weakref import WeakSet

import msgspec

import dawdle
from dawdle.hooks import DeadLettered, Expired, Forwarded, HandlerFinished, HandlerStarted, Moment
from dawdle.hooks import Signaled as SignaledMoment

__all__ = ["DeadEvent", "HandledEvent", "Recording", "SignaledEvent", "Signals"]

E = TypeVar("E")
E_co = TypeVar("E_co", covariant=True)
T = TypeVar("T")


class SignaledEvent(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """One event that the test, an endpoint or a handler has signaled."""

    event: E_co
    event_id: str
    """The id that `signal()` returned."""
    delay: float
    """Seconds until it is due, counted from the signal; also of one that was signaled `at` a time."""
    queues: tuple[str, ...]
    """The names of the queues that stored it; empty for `direct=True`, and in a transaction of the caller's."""
    headers: Mapping[str, str]
    """The headers that the call was given."""


class HandledEvent(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """One run of a handler that did its work: it returned."""

    event: E_co
    event_id: str
    handler: str
    attempt: int


class DeadEvent(msgspec.Struct, Generic[E_co], frozen=True, kw_only=True):
    """One event that was given up, or one handler's share of it."""

    event: E_co
    event_id: str
    handler: str | None
    """The handler that failed for good; None: no handler could be run."""
    error: str
    """The error's type and message, as in the dead letter."""
    attempts: int
    """How many runs of the handler there were."""


class Signals(Sequence[SignaledEvent[object]]):
    """What was signaled, in order: `len(signals)`, `signals[0].event`, `signals.events`, `signals.of(OrderPlaced)`."""

    def __init__(self) -> None:
        self._all: list[SignaledEvent[object]] = []

    def append(self, signal: SignaledEvent[object]) -> None:
        """Add what was signaled."""
        self._all.append(signal)

    @property
    def events(self) -> list[object]:
        """The events themselves, in the order in which they were signaled."""
        return [each.event for each in self._all]

    def of(self, event_type: type[E]) -> list[E]:
        """Return the events of a type, or of its subclasses, in the order in which they were signaled."""
        return [each.event for each in self._all if isinstance(each.event, event_type)]

    def clear(self) -> None:
        """Forget what was signaled until now, such as by the steps that prepare the test."""
        self._all.clear()

    @overload
    def __getitem__(self, index: int) -> SignaledEvent[object]: ...
    @overload
    def __getitem__(self, index: slice) -> list[SignaledEvent[object]]: ...
    def __getitem__(self, index: int | slice) -> SignaledEvent[object] | list[SignaledEvent[object]]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Signals {self.events!r}>"


class Run(msgspec.Struct):
    """The latest run of one handler on one event, as failures of tests describe it."""

    event_id: str
    handler: str
    attempt: int
    state: str = "is running"


_PACKAGE: Final = str(Path(dawdle.__file__).parent)

_recordings: WeakSet["Recording"] = WeakSet()


class Recording:
    """Listens to the moments of one app, and knows the events by their ids."""

    def __init__(self) -> None:
        self.signals = Signals()
        self._handled: list[HandlerFinished] = []
        self._dead: list[tuple[DeadLettered, int]] = []
        self.runs: dict[tuple[str, str | None], Run] = {}
        """By event and handler, in the order of the first runs."""
        self.errors: dict[tuple[str, str], BaseException] = {}
        """What each handler raised whose last run failed, until `idle()` raises it."""
        self._events: dict[str, object] = {}
        self._raised: dict[tuple[str, str], BaseException] = {}
        self._stored: dict[str, list[SignaledMoment]] = {}
        _recordings.add(self)

    def event(self, event_id: str) -> object:
        """Return the event of an id; None if no app of the test has signaled it."""
        # Two apps of one test may share a queue: then what one has signaled is handled in the other.
        return next((each._events[event_id] for each in (self, *_recordings) if event_id in each._events), None)

    # Made when they are asked for: a handler may end before the call of `signal` that it came from, which knows the
    # event, returns.
    @property
    def handled(self) -> list[HandledEvent[object]]:
        """The runs in which a handler did its work, in order."""
        return [
            HandledEvent(
                event=self.event(each.event_id), event_id=each.event_id, handler=each.handler, attempt=each.attempt
            )
            for each in self._handled
        ]

    @property
    def dead(self) -> list[DeadEvent[object]]:
        """What was given up, in order."""
        return [
            DeadEvent(
                event=self.event(each.event_id),
                event_id=each.event_id,
                handler=each.handler,
                error=each.reason,
                attempts=attempts,
            )
            for each, attempts in self._dead
        ]

    def signaled(self, event: object, event_id: str, headers: Mapping[str, str] | None, delay: float) -> None:
        """Note an event that a call has signaled. `delay` counts if no hook was told: in the caller's transaction."""
        moments = self._stored.pop(event_id, [])
        self._events[event_id] = event
        self.signals.append(
            SignaledEvent(
                event=event,
                event_id=event_id,
                delay=moments[0].delay if moments else delay,
                queues=tuple(moment.queue for moment in moments),
                headers=dict(headers or {}),
            )
        )

    def raised(self, event_id: str, handler: str, error: BaseException) -> None:
        """Note what a handler has raised; its outcome follows."""
        self._raised[event_id, handler] = error

    def __call__(self, moment: Moment) -> None:
        """Take a moment of the app."""
        match moment:
            case SignaledMoment():
                self._stored.setdefault(moment.event_id, []).append(moment)
            case HandlerStarted():
                self._raised.pop((moment.event_id, moment.handler), None)
                self.runs[moment.event_id, moment.handler] = Run(moment.event_id, moment.handler, moment.attempt)
            case HandlerFinished():
                self._finished(moment)
            case Forwarded(handler=str() as handler, why="retry" | "later"):
                run = self.runs.get((moment.event_id, handler))
                if run is not None:
                    run.state += f"; it runs again {moment.delay:g} s after that"
            case DeadLettered():
                run = self.runs.get((moment.event_id, moment.handler))
                self._dead.append((moment, 0 if run is None else run.attempt))
            case Expired():
                run = Run(moment.event_id, moment.handler or "no handler", 0, "expired before it ran")
                self.runs[moment.event_id, moment.handler] = run
            case _:
                pass

    def _finished(self, moment: HandlerFinished) -> None:
        key = (moment.event_id, moment.handler)
        run = self.runs.setdefault(key, Run(*key, moment.attempt))
        run.state = f"{moment.outcome} in attempt {moment.attempt}" + (f": {moment.error}" if moment.error else "")
        error = self._raised.pop(key, None)
        if moment.outcome == "done":
            self.errors.pop(key, None)
            self._handled.append(moment)
        elif moment.outcome in {"failed", "rejected"}:
            self.errors[key] = _error_of(moment, error)

    def take_errors(self) -> Iterator[BaseException]:
        """Return what the handlers raised whose last run failed, each error once."""
        while self.errors:
            yield self.errors.pop(next(iter(self.errors)))


def _of_others(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame on that is not dawdle's own; all of it if there is none."""
    found = trace
    while found is not None and found.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        found = found.tb_next
    return trace if found is None else found


def _error_of(moment: HandlerFinished, raised: BaseException | None) -> BaseException:
    """Return what a handler raised. A timeout ends it from outside, so what was seen in it is a cancellation."""
    text = moment.error or "the handler failed"
    if raised is None or not isinstance(raised, Exception):
        name, _, message = text.partition(": ")
        error: BaseException = TimeoutError(message) if name == "TimeoutError" else RuntimeError(text)
    else:
        error = raised.with_traceback(_of_others(raised.__traceback__))
    error.add_note(
        f"raised by the handler {moment.handler} in attempt {moment.attempt}, on {moment.event_type} {moment.event_id}"
    )
    return error
