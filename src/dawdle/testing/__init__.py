"""For tests: a clock that a test moves, a probe of an app, the contract suite for backends, an SQS server."""

from dawdle.testing.clock import ManualClock as ManualClock
from dawdle.testing.probe import Probe as Probe
