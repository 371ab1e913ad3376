"""taskiq in memory: it stores nothing, the task starts at once."""

from taskiq import InMemoryBroker

from tests.bench.contestants._at_once import AtOnce
from tests.bench.contestants._taskiq import Tasks
from tests.bench.work import Setting


class Contestant(AtOnce, Tasks):
    """It keeps the last hundred results, its default."""

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting, InMemoryBroker(cast_types=False))
