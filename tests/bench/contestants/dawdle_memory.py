"""dawdle in memory."""

from dawdle.backends.memory import Memory
from tests.bench.contestants._dawdle import App
from tests.bench.work import Setting


class Contestant(App):
    """Its queue in memory, with leases, retries and dead letters as on SQS."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, Memory())
