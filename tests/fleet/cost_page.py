"""The tables of `docs/explain/cost.md`, made from the figures of a whole run and the prices. A test compares them.

`python -m tests.fleet.cost_page` writes them into the page.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.fleet.plan import SIZES
from tests.fleet.prices import HOURS_PER_MONTH, SECONDS_PER_MONTH, billed, dollars, hops
from tests.fleet.report import Figures, read

PAGE: Final = Path(__file__).parents[2] / "docs" / "explain" / "cost.md"

BENCH: Final = PAGE.parents[1] / "bench" / "results.json"
"""What `nox -s bench` found; until it is there, the page has no table of other libraries."""

ALONE: Final = 3.0
"""Requests of an event that shares none: one to send it, one to receive it, one to delete it."""

FULL: Final = 0.3
"""Requests of an event that shares each with nine others."""

RATES: Final = (1, 100, 10_000)
DELAYS: Final = {"up to 15 minutes": 900, "1 hour": 3600, "1 day": 86_400, "7 days": 604_800, "30 days": 2_592_000}
KIB: Final = 1024


def idle(figures: Figures) -> Iterator[list[str]]:
    """What a fleet costs that has nothing to do."""
    yield ["nodes", "requests an hour", "requests a month", "dollars a month"]
    for nodes in SIZES:
        per_hour = figures.of("idle", nodes).per_hour
        per_month = per_hour * HOURS_PER_MONTH
        yield [f"{nodes:,}", f"{per_hour:,.0f}", f"{per_month / 1e6:,.2f} million", money(dollars(per_month))]


def steady(figures: Figures) -> Iterator[list[str]]:
    """What a steady load costs, signaled one by one, by the number of nodes that it is spread over."""
    yield ["events a second", "one request per message", *(f"on {_nodes(nodes)}" for nodes in SIZES)]
    for rate in RATES:
        events = rate * SECONDS_PER_MONTH

        def cell(per_event: float, events: float = events) -> str:
            return f"{per_event:.2f}: {money(dollars(per_event * events))}"

        found = [figures.find(f"steady {rate:,}/s", nodes) for nodes in SIZES]
        cells = [cell(each.per_event) if each is not None and each.per_event is not None else "–" for each in found]
        yield [f"{rate:,}", cell(ALONE), *cells]


def delays(_: Figures) -> Iterator[list[str]]:
    """What a million delayed events cost, by the length of the delay."""
    yield ["delay", "messages", "requests, alone", "dollars a million", "requests, full batches", "dollars a million"]
    for name, seconds in DELAYS.items():
        count = hops(seconds)
        yield [
            name,
            f"{count:,}",
            f"{count * ALONE:,.0f}",
            money(dollars(count * ALONE * 1e6)),
            f"{count * FULL:,.1f}",
            money(dollars(count * FULL * 1e6)),
        ]


def bodies(_: Figures) -> Iterator[list[str]]:
    """For how many requests SQS bills a full batch, by the size of its messages."""
    yield ["each message", "billed for a batch of ten", "for ten requests of one"]
    for kib in (1, 6, 16, 64, 100):
        yield [f"{kib} KiB", f"{billed(10, kib * KIB)}", f"{10 * billed(1, kib * KIB)}"]


def fleet(figures: Figures) -> Iterator[list[str]]:
    """What became of a burst and of a deploy."""
    yield ["nodes", "burst: requests an event", "drained after", "deploy: extra runs", "longest wait", "lost"]
    for nodes in SIZES:
        burst, deploy = figures.of("burst of 100,000", nodes), figures.of("deploy", nodes)
        yield [
            f"{nodes:,}",
            f"{burst.per_event:.2f}",
            f"{burst.drained_after:,.1f} s",
            f"{deploy.extra_runs:,} of {deploy.events:,}",
            f"{deploy.wait_max:,.2f} s",
            f"{burst.lost + deploy.lost}",
        ]


def peers(_: Figures) -> Iterator[list[str]]:
    """What the benchmark counted for each library: requests for an event that is signaled, received and deleted."""
    rows = {row.row["name"]: row.contestants for row in msgspec.json.decode(BENCH.read_bytes(), type=_Bench).rows}
    yield [
        "library",
        "signaled by many tasks",
        "signaled as a list",
        "received and deleted",
        "dollars a million events",
    ]
    for name, receive in rows["receive"].items():
        if signal := rows["signal"].get(name):
            many = rows["signal_many"].get(name)
            both = dollars((signal.total + receive.total) * 1e6)
            yield [
                name,
                f"{signal.total:.2f}",
                "–" if many is None else f"{many.total:.2f}",
                f"{receive.total:.2f}",
                money(both),
            ]


class _Asked(msgspec.Struct):
    """How many requests of each operation a library makes for an event."""

    requests: dict[str, float] = {}

    @property
    def total(self) -> float:
        return sum(self.requests.values())


class _BenchRow(msgspec.Struct):
    row: dict[str, Any]
    contestants: dict[str, _Asked]


class _Bench(msgspec.Struct):
    """What this page needs of the benchmark's findings."""

    rows: list[_BenchRow]


TABLES: Final[dict[str, Callable[[Figures], Iterator[Sequence[str]]]]] = {
    "idle": idle,
    "steady": steady,
    "delays": delays,
    "bodies": bodies,
    "fleet": fleet,
    "peers": peers,
}


def with_tables(page: str, figures: Figures) -> str:
    """Return the page with its tables made anew. Each stands between `<!-- figures: NAME -->` and `<!-- end -->`."""

    def made(found: re.Match[str]) -> str:
        if found["name"] == "peers" and not BENCH.exists():
            return found[0]
        return f"{found['head']}\n{_markdown(list(TABLES[found['name']](figures)))}\n<!-- end -->"

    return re.sub(r"(?P<head><!-- figures: (?P<name>\w+) -->\n).*?<!-- end -->", made, page, flags=re.DOTALL)


def rewrite_page() -> None:
    """Write the tables of the figures that are kept beside the page into it."""
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")


def money(amount: float) -> str:
    """Return dollars, with cents where they matter."""
    return f"${amount:,.0f}" if amount >= 100 else f"${amount:,.2f}"


def _nodes(count: int) -> str:
    return f"{count:,} node{'s' if count > 1 else ''}"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = rows
    lines = [head, ["---:" for _ in head], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    rewrite_page()
