"""The suite that every backend passes, with its limits as its features. Needs pytest and anyio's plugin.

Write a class in your tests and say how a queue is made::

    class TestMyQueue(BackendContract):
        def make(self):
            return MyQueue("amqp://…")

A check is skipped, with the reason, when `limits` says that the queue cannot do what it needs.
"""

from dawdle.testing.contract._leases import LeaseContract
from dawdle.testing.contract._order import OrderContract
from dawdle.testing.contract._receiving import ReceivingContract
from dawdle.testing.contract._storing import StoringContract

__all__ = ["BackendContract"]


class BackendContract(StoringContract, LeaseContract, ReceivingContract, OrderContract):
    """Override `make`. `self.clock` is a clock for a queue that takes one."""
