"""dawdle: events for asyncio. Signal now or in a week; every handler runs until it is done.

The public names, nothing else.
"""

from dawdle import from_thread as from_thread
from dawdle._app.app import Dawdle as Dawdle
from dawdle._app.app import default_registry as _default_registry
from dawdle._app.current import current as current
from dawdle._app.current import signal as signal
from dawdle._app.current import signal_many as signal_many
from dawdle._app.discovery import discover as discover
from dawdle._handlers.context import Context as Context
from dawdle._handlers.registry import Registry as Registry
from dawdle._rules.codec import JSON as JSON
from dawdle._rules.codec import MessagePack as MessagePack
from dawdle._rules.dead_letter import DeadLetter as DeadLetter
from dawdle._rules.health import FailingCalls as FailingCalls
from dawdle._rules.health import Health as Health
from dawdle._rules.health import LongRunning as LongRunning
from dawdle._rules.health import QueueHealth as QueueHealth
from dawdle._rules.retry import Retry as Retry
from dawdle.errors import BackendError as BackendError
from dawdle.errors import ConfigurationError as ConfigurationError
from dawdle.errors import DawdleError as DawdleError
from dawdle.errors import EventError as EventError
from dawdle.errors import EventTooLargeError as EventTooLargeError
from dawdle.errors import NoAppError as NoAppError
from dawdle.errors import NotAnEventError as NotAnEventError
from dawdle.errors import Reject as Reject
from dawdle.errors import RetryLater as RetryLater
from dawdle.errors import SignalError as SignalError
from dawdle.events import event as event

__version__ = "0.1.0"

on_event = _default_registry.on_event
