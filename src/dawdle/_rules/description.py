"""What an app is made of, as `app.describe()` tells it: plain facts that can be written as JSON. Finds none of them."""

import msgspec

__all__ = [
    "AppDescription",
    "EventTypeDescription",
    "FieldDescription",
    "FunctionDescription",
    "HandlerDescription",
    "QueueDescription",
]


class QueueDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One queue of an app."""

    name: str
    """The name that the app has for it; `default` where it has one queue only."""

    backend: str
    """What it is, without credentials: `SQLite('app.db')`."""

    listened: bool
    """Whether this process handles its events, when it listens."""

    concurrency: int
    """How many of its messages may be in flight at once in this process."""

    shared: bool
    """Whether other processes may have it too. A queue in memory is this process's own."""

    durable: bool
    """Whether its messages outlive the process."""

    ordered: bool
    """Whether the messages of a group keep their order; of SQS it is known once the queue is open."""


class HandlerDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One handler, with the options that hold for it."""

    name: str
    """What its retries carry."""

    aliases: tuple[str, ...]
    """Its names of before."""

    events: tuple[str, ...]
    """The names on the wire of the types that it names; () if it takes every event. Subclasses are not in it."""

    exclude: tuple[str, ...]
    """The names on the wire of the types that it does not take."""

    queue: str | None
    """The queue on which it runs, and on no other; None: where its event arrives."""

    max_attempts: int
    """How often it is tried: its own `Retry`, or the app's."""

    timeout: float | None
    """Seconds for one run: its own, or the app's; None: no limit."""

    concurrency: int | None
    """How many runs of it at once in this process; None: as many as there are messages in flight."""

    is_async: bool
    """Whether it runs in the event loop; a `def` handler runs in a thread."""

    function: str
    """The function, `module.qualname`."""

    file: str | None
    """Where it was registered."""

    line: int | None
    """The line there."""


class FieldDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One field of an event type, or one parameter of a function."""

    name: str
    """As it is called in Python."""

    encoded_name: str
    """As it is called in the data of a message."""

    annotation: str
    """Its type as one writes it: `int`, `list[str] | None`."""

    required: bool
    """Whether it has no default."""

    default: str | None = None
    """Its default, as Python shows it; None where there is none, or where it is made anew for each event."""


class EventTypeDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One type of events."""

    name: str
    """Its name on the wire."""

    aliases: tuple[str, ...]
    """Names on the wire that mean it too."""

    version: int
    """The version of its data that the class reads."""

    upcasters: tuple[int, ...]
    """The older versions that it reads as well, by upcasters."""

    class_name: str
    """The class, `module.qualname`."""

    style: str
    """`struct`, `dataclass`, `attrs` or `pydantic`."""

    fields: tuple[FieldDescription, ...]
    """What it holds."""

    faults: tuple[str, ...]
    """The fields that cannot travel, each with the reason: `$.card: why`. An event with one is refused at `signal`."""

    queues: tuple[str, ...]
    """Where it goes: the event to the first, a copy to each other."""

    handlers: tuple[str, ...]
    """The handlers of this app that take it."""

    demanded: tuple[str, ...]
    """Handlers that its `@event(handlers=…)` names: workers that share a queue may each have some of them."""

    elsewhere: tuple[str, ...]
    """Those of them that this app does not have."""

    expires: float | None
    """Seconds after which it is not handled any more."""

    unclaimed: str
    """What becomes of it where no worker has a handler: `retry` or `drop`."""


class FunctionDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One function for `dawdle.call`."""

    name: str
    """What its calls carry."""

    aliases: tuple[str, ...]
    """Its names of before."""

    parameters: tuple[FieldDescription, ...]
    """What a call may pass."""

    queue: str | None
    """The queue of its calls, if it names one."""

    max_attempts: int
    """How often a call is tried."""

    timeout: float | None
    """Seconds for one run; None: no limit."""

    concurrency: int | None
    """How many runs of it at once in this process; None: as many as there are messages in flight."""

    file: str | None
    """Where it was registered."""

    line: int | None
    """The line there."""


class AppDescription(msgspec.Struct, frozen=True, kw_only=True):
    """An app: its queues, its handlers, the types that it knows. It holds no keys, headers or credentials."""

    queues: tuple[QueueDescription, ...]
    """In the order in which they were given."""

    handlers: tuple[HandlerDescription, ...]
    """In the order of registration."""

    functions: tuple[FunctionDescription, ...]
    """The functions for `dawdle.call`, in the order of registration."""

    event_types: tuple[EventTypeDescription, ...]
    """Types that are handled, routed or declared with `@event`, and imported subclasses of handled ones, by name."""

    settings: dict[str, str]
    """The options of the app that differ from their defaults, by name, as text."""
