"""What is measured, as data: a row is one kind of work, done by several contestants side by side."""

import msgspec

from tests.bench.work import Job, Where, Work


class Target(msgspec.Struct, frozen=True):
    """What dawdle is to reach in a row: at most so many times what `peer` needs, or without one so many of the unit."""

    at_most: float
    peer: str | None = None
    row: str | None = None
    """The row of that peer; None: this one."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work."""

    name: str
    title: str
    measure: str
    where: Where
    contestants: tuple[str, ...]
    work: Work = Work()
    target: Target | None = None

    def jobs(self) -> list[Job]:
        """Return one job for each contestant."""
        return [
            Job(contestant=each, measure=self.measure, where=self.where, work=self.work) for each in self.contestants
        ]


SQS = ("dawdle", "fanferro", "taskiq", "aiobotocore")

HEART = (
    Row(
        name="signal",
        title="one signal() each from 200 tasks",
        measure="send_each",
        where="stub",
        contestants=SQS,
        target=Target(0.3, "fanferro"),
    ),
    Row(
        name="signal_many",
        title="signal_many, 100 at once",
        measure="send_many",
        where="stub",
        contestants=SQS,
        target=Target(0.8, "fanferro"),
    ),
    Row(
        name="receive",
        title="receive, one handler, delete",
        measure="receive",
        where="stub",
        contestants=SQS,
        target=Target(0.7, "fanferro"),
    ),
)
"""The rows of the first table, each with what dawdle is to reach."""
