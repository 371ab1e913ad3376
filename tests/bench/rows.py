"""What is measured, as data; a queue in a SQLite file has rows of its own, in `sqlite_rows`."""

from collections.abc import Iterator

import msgspec

from tests.bench.rows_data import Row, Target
from tests.bench.sqlite_rows import SQLITE
from tests.bench.work import Where, Work

ON_SQS = ("dawdle", "fanferro", "taskiq", "aiobotocore")
IN_MEMORY = ("dawdle", "fanferro", "taskiq", "pyee", "bubus", "bare task")
CONTESTANTS: tuple[tuple[Where, tuple[str, ...]], ...] = (("stub", ON_SQS), ("memory", IN_MEMORY))
MANY_HANDLERS = ("dawdle", "pyee", "bubus", "bare task")
"""Who runs several handlers for one event in memory."""

RIVER = Work(concurrency=200)

HEART = (
    Row(
        name="signal",
        title="one `signal()` each from 200 tasks",
        measure="send_each",
        where="stub",
        contestants=ON_SQS,
        target=Target(0.3, "fanferro"),
    ),
    Row(
        name="signal_many",
        title="`signal_many`, 100 at once",
        measure="send_many",
        where="stub",
        contestants=ON_SQS,
        target=Target(0.8, "fanferro"),
    ),
    Row(
        name="receive",
        title="receive + one handler + delete",
        measure="receive",
        where="stub",
        contestants=ON_SQS,
        target=Target(0.7, "fanferro"),
    ),
    Row(
        name="receive-3",
        title="receive + three handlers + delete",
        measure="receive",
        where="stub",
        contestants=("dawdle", "aiobotocore"),
        work=Work(handlers=3),
        target=Target(1.35, "dawdle", "receive"),
    ),
    Row(
        name="memory",
        title="in memory, 200 signalers: signal → one handler → done",
        measure="pass_through",
        where="memory",
        contestants=IN_MEMORY,
        work=RIVER,
        target=Target(20),
    ),
    Row(
        name="memory-3",
        title="in memory, three handlers",
        measure="pass_through",
        where="memory",
        contestants=MANY_HANDLERS,
        work=msgspec.structs.replace(RIVER, handlers=3),
        target=Target(33),
    ),
    Row(
        name="import",
        title="`import` over asyncio and msgspec",
        measure="import",
        where="memory",
        contestants=("dawdle", "fanferro", "taskiq", "aiobotocore", "pyee", "bubus"),
        unit="ms",
        target=Target(15),
    ),
)
"""The rows of the first table, each with what dawdle is to reach."""


def on_server() -> Iterator[Row]:
    """The rows on SQS again, on the SQS test server of dawdle."""
    for row in HEART:
        if row.where == "stub":
            yield msgspec.structs.replace(row, name=f"server/{row.name}", where="server", target=None)


SATURATED = Row(
    name="stub/saturated",
    title="200 signalers as fast as they can, to the delete",
    measure="pass_through",
    where="stub",
    contestants=ON_SQS,
)


def varied(name: str, title: str, where: Where, contestants: tuple[str, ...], **work: object) -> Row:
    """A row that differs in one thing from the base point: 100 under way, 200 B, one handler, uvloop."""
    return Row(
        name=f"{where}/{name}",
        title=title,
        measure="closed",
        where=where,
        contestants=contestants,
        work=Work(**work),  # type: ignore[arg-type]
    )


def axes() -> Iterator[Row]:
    """One axis varied at a time."""
    for where, all_of_them in CONTESTANTS:
        several = ("dawdle", "aiobotocore") if where == "stub" else MANY_HANDLERS
        yield varied("base", "100 under way, 200 B, one handler, uvloop", where, all_of_them)
        for count in (1, 10, 1_000, 10_000):
            some = all_of_them if count < 10_000 else tuple(each for each in all_of_them if each != "bubus")
            yield varied(
                f"in_flight={count}", f"{count:,} under way", where, some, in_flight=count, concurrency=max(count, 100)
            )
        for size, bytes_of_it in (("4 KB", 4_096), ("256 KB", 262_144)):
            yield varied(f"body={bytes_of_it}", f"bodies of {size}", where, all_of_them, body=bytes_of_it)
        for count in (3, 10):
            yield varied(f"handlers={count}", f"{count} handlers", where, several, handlers=count)
        yield varied("asyncio", "asyncio's own loop", where, all_of_them, uvloop=False)


def latencies() -> Iterator[Row]:
    """From signal to handler."""
    for where, all_of_them in CONTESTANTS:
        yield Row(
            name=f"{where}/latency",
            title="on the stub" if where == "stub" else "in memory",
            measure="latency",
            where=where,
            contestants=all_of_them,
        )


def memory() -> Iterator[Row]:
    """Memory per message in flight, and per delayed one, beyond its body."""
    for where, some, count in (
        ("stub", ("dawdle", "fanferro", "taskiq"), 1_000),
        ("memory", ("dawdle", "fanferro", "taskiq", "pyee"), 10_000),
    ):
        yield Row(
            name=f"{where}/held",
            title=f"{count:,} in flight " + ("on the stub" if where == "stub" else "in memory"),
            measure="held",
            where=where,
            contestants=some,
            work=Work(in_flight=count, concurrency=count + 100),
            unit="B",
            target=Target(4096),
        )
    yield Row(
        name="memory/delayed",
        title="100,000 delayed events in memory",
        measure="delayed",
        where="memory",
        contestants=("dawdle",),
        work=Work(waiting=100_000),
        unit="B",
        target=Target(1024),
    )


def growth() -> Iterator[Row]:
    """What dawdle costs as more of something is there."""
    for where in ("memory", "stub"):
        on = "in memory" if where == "memory" else "on the stub"
        for count in (10, 100, 1_000, 10_000):
            yield Row(
                name=f"{where}/parked={count}",
                title=f"{on}, {count:,} handlers under way",
                measure="parked",
                where=where,
                contestants=("dawdle",),
                work=Work(in_flight=count, concurrency=count + 100),
                target=None if count == 10 else Target(1.2, "dawdle", f"{where}/parked=10"),
            )
        for count in (1, 10, 100):
            yield Row(
                name=f"{where}/registered={count}",
                title=f"{on}, one handler, and {count - 1} for other types",
                measure="closed",
                where=where,
                contestants=("dawdle",),
                work=Work(registered=count - 1),
                target=None if count == 1 else Target(1.2, "dawdle", f"{where}/registered=1"),
            )
    for count in (0, 100_000):
        yield Row(
            name=f"memory/delayed={count}",
            title=f"in memory, {count:,} delayed events waiting",
            measure="delayed",
            where="memory",
            contestants=("dawdle",),
            work=Work(waiting=count),
            target=Target(1.5, "dawdle", "memory/delayed=0") if count else None,
        )


def telemetry() -> Iterator[Row]:
    """What each kind of telemetry adds to an event in memory, from its signal to the delete."""
    for name, title, ours, target in (
        ("no-op", "OpenTelemetry without a provider", "OpenTelemetry, no provider", 10),
        ("unsampled", "OpenTelemetry, no trace sampled", "OpenTelemetry, not sampled", 0),
        ("sampled", "OpenTelemetry, each trace sampled", "OpenTelemetry, all sampled", 0),
        ("metrics", "OpenTelemetry, metrics", "OpenTelemetry, metrics", 0),
        ("prometheus", "Prometheus", "Prometheus", 0),
    ):
        yield Row(
            name=f"telemetry/{name}",
            title=title,
            measure="pass_through",
            where="memory",
            contestants=(ours, "dawdle"),
            beside=("dawdle",),
            ours=ours,
            work=RIVER,
            target=Target(target, "dawdle", is_over=True) if target else None,
        )


REST = (*on_server(), SATURATED, *axes(), *latencies(), *memory(), *growth(), *telemetry(), *SQLITE)
"""Everything beyond the first table."""

SLOW = "bubus"
"""Left out of a quick run, since it needs far more time than all others."""

QUICK = (
    *(
        msgspec.structs.replace(row, contestants=tuple(each for each in row.contestants if each != SLOW))
        for row in HEART
        if row.unit == "µs"
    ),
    *(
        msgspec.structs.replace(row, contestants=("dawdle", "huey", "bare sqlite3"))
        for row in SQLITE
        if row.name == "sqlite/peers=1000"
    ),
)
"""What a quick run measures: the first table, and what a queue in a file costs beside two others."""
