"""localqueue at its default, which does not sync: a power cut takes the last commits."""

from localqueue import DurabilityMode

from tests.bench.contestants import localqueue_file


class Contestant(localqueue_file.Contestant):
    """The same calls."""

    durability = DurabilityMode.RELAXED
