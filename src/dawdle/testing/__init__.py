"""For tests: an app in memory, a clock that a test moves, claims, a probe, the contract suite, an SQS server."""

from dawdle.testing.app import TestApp as TestApp
from dawdle.testing.asserts import assert_dead_lettered as assert_dead_lettered
from dawdle.testing.asserts import assert_handled as assert_handled
from dawdle.testing.asserts import assert_not_signaled as assert_not_signaled
from dawdle.testing.asserts import assert_signaled as assert_signaled
from dawdle.testing.clock import ManualClock as ManualClock
from dawdle.testing.contexts import context as context
from dawdle.testing.options import AppOptions as AppOptions
from dawdle.testing.probe import Probe as Probe
from dawdle.testing.recording import DeadEvent as DeadEvent
from dawdle.testing.recording import HandledEvent as HandledEvent
from dawdle.testing.recording import SignaledEvent as SignaledEvent
from dawdle.testing.recording import Signals as Signals
from dawdle.testing.stand_in import under_test as under_test
