"""What is measured on a queue in a SQLite file: rows, and what dawdle is to reach in each."""

from collections.abc import Iterator

from tests.bench.rows_data import LEAST, Row, Target
from tests.bench.work import Work

ALONE = Work(signalers=1)
TOGETHER = Work(signalers=64)
OVER_MEMORY = "sqlite/signalers=64"

PEERS = (
    "dawdle",
    "dawdle one by one",
    "bare sqlite3",
    "huey",
    "persist-queue",
    "simplebroker",
    "localqueue",
    "litequeue made to sync",
    "localqueue, not synced",
    "litequeue, not synced",
)
BESIDE = ("dawdle one by one", "localqueue, not synced", "litequeue, not synced")
"""Shown, and not compared: what does not sync loses the last commits in a power cut."""

BACKLOGS = (1_000, 100_000, 1_000_000)


def in_one_process() -> Iterator[Row]:
    """An app that signals and handles, and the queue without an app."""
    for name, work, title, bound in (
        (OVER_MEMORY, TOGETHER, "64 signalers: signal → handler → delete, over memory", 15),
        ("sqlite/signalers=1", ALONE, "one signaler, over memory", 170),
    ):
        yield Row(
            name=name,
            title=title,
            measure="pass_through",
            where="sqlite",
            contestants=("dawdle", "dawdle in memory"),
            beside=("dawdle in memory",),
            work=work,
            target=Target(bound, "dawdle in memory", is_over=True),
        )
    yield Row(
        name="sqlite/rate",
        title="put, get and ack through the queue, 64 tasks",
        measure="put_get_ack",
        where="file",
        contestants=("dawdle",),
        work=TOGETHER,
        unit="/s",
        figure="rate",
        is_more_better=True,
        target=Target(25_000),
    )
    yield Row(
        name="sqlite/syncs",
        title="syncs per transaction, by one task; a claim needs none",
        measure="put_get_ack",
        where="file",
        contestants=("dawdle one by one",),
        ours="dawdle one by one",
        work=ALONE,
        unit="syncs",
        figure="syncs per transaction",
        target=Target(1),
    )
    yield Row(
        name="sqlite/idle",
        title="a listener on an empty queue",
        measure="idle",
        where="sqlite",
        contestants=("dawdle",),
        unit="%",
        figure="percent",
        target=Target(0.05),
    )


def in_two_processes() -> Iterator[Row]:
    """One that signals and one that handles; two that both put, get and ack."""
    yield Row(
        name="sqlite/two-roles",
        title="one process signals from 64 tasks, one handles: both, over memory",
        measure="two_roles",
        where="sqlite",
        contestants=("dawdle",),
        work=TOGETHER,
        target=Target(20, "dawdle in memory", OVER_MEMORY, is_over=True),
    )
    for name, title, measure, figure, bound in (
        ("sqlite/received", "the same, stored → received, 99th percentile", "stored_to_received", "p99 ms", 15),
        ("sqlite/woken", "single messages, put → received, 99th percentile", "woken", "p99 ms", 50),
        ("sqlite/longest", "two processes that do both: the longest wait for a call", "share", "longest ms", 250),
    ):
        yield Row(
            name=name,
            title=title,
            measure=measure,
            where="sqlite",
            contestants=("dawdle",),
            work=TOGETHER,
            unit="ms",
            figure=figure,
            is_bound=measure == "share",
            target=Target(bound),
        )
    yield Row(
        name="sqlite/share",
        title="two processes that do both: the slower one's share of the faster one's",
        measure="share",
        where="sqlite",
        contestants=("dawdle",),
        work=TOGETHER,
        unit="share",
        figure="share",
        is_more_better=True,
        is_bound=True,
        target=Target(0.8),
    )


def with_many_rows() -> Iterator[Row]:
    """What a message costs while many others wait in the file."""
    first = "sqlite/ready=1000"
    for state in ("ready", "delayed"):
        for count in BACKLOGS:
            backlog = {"backlog": count} if state == "ready" else {"waiting": count}
            name = f"sqlite/{state}={count}"
            yield Row(
                name=name,
                title=f"put, get and ack, {count:,} {state}",
                measure="put_get_ack",
                where="file",
                contestants=("dawdle",),
                work=Work(signalers=64, **backlog),
                target=None if name == first else Target(1.5, "dawdle", first),
            )


def beside_peers() -> Iterator[Row]:
    """The same work by the queues that others keep in a file."""
    for count in BACKLOGS:
        yield Row(
            name=f"sqlite/peers={count}",
            title=f"put, get and ack, {count:,} waiting",
            measure="put_get_ack",
            where="file",
            contestants=PEERS,
            beside=BESIDE,
            work=Work(signalers=64, backlog=count),
            target=Target(1, LEAST),
        )


SQLITE = (*in_one_process(), *in_two_processes(), *with_many_rows(), *beside_peers())
