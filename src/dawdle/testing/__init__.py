"""For tests, ours and yours: a clock to hold, the contract suite, servers to test against."""

from dawdle.testing.clock import ManualClock as ManualClock
from dawdle.testing.probe import Probe as Probe
