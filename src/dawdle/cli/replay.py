"""`dawdle replay`: gives one handler again what a queue keeps copies of, at a rate. The copies stay where they are.

browse: count ──► ask ──► browse: each event ──► at its time ──► app.replay
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from math import ceil
from typing import Final, NamedTuple

import click
from rich.progress import Progress

from dawdle import BackendError, Dawdle, StoredEvent
from dawdle.cli._app import AppCommand, with_app
from dawdle.cli._interrupt import Interrupt, interruptible
from dawdle.cli._output import confirm, err, json_option, out, print_json, progress
from dawdle.cli._running import INTERRUPTED, CommandError, run_async
from dawdle.cli._texts import counted, did_you_mean
from dawdle.cli._values import SECONDS, past

__all__ = ["rate", "replay"]

MAX_AT_ONCE: Final = 100
"""Events that are replayed side by side, so that they share requests."""

TICK_SECONDS: Final = 0.1
"""Seconds between two batches where a rate is given: what is due by then goes together."""

RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:/\s*([smhd]))?")


class Chosen(NamedTuple):
    """What is replayed."""

    source: str
    """The queue that keeps the copies."""
    handler: str
    takes: frozenset[str]
    """The wire names of the types that it takes, as far as the app knows them."""
    names: tuple[str, ...]
    """Those that are meant; () for a handler of every event."""
    since: datetime | None
    until: datetime
    """Not later than when the command began: what is stored after the count was not agreed to."""


class Seen(NamedTuple):
    """What a look has found."""

    events: int
    unreadable: int
    """Of types that the app does not know, or with data that does not fit them."""


class Latest(NamedTuple):
    """The time at which the latest of the replayed events was stored, and how many of them were stored at it."""

    stored_at: datetime | None = None
    events: int = 0

    def with_batch(self, batch: Sequence[StoredEvent]) -> "Latest":
        """Return it after a batch more."""
        last = batch[-1].stored_at
        return Latest(last, self.at(last) + sum(each.stored_at == last for each in batch))

    def at(self, stored_at: datetime | None) -> int:
        """Return how many were stored at a time that is not before the latest."""
        return self.events if stored_at == self.stored_at else 0


class Outcome(NamedTuple):
    """How far a replay came."""

    events: int
    next_at: datetime | None = None
    """When the first event was stored that was not replayed; None: all were."""
    again: int = 0
    """Replayed events that were stored then or later: going on from there replays them once more."""
    error: BackendError | None = None


def rate(text: str) -> float:
    """Return the events per second of `50/s`, `50`, `3000/m` or `10/h`."""
    found = RATE.fullmatch(text.strip())
    per_second = 0.0 if found is None else float(found[1]) / SECONDS[found[2] or "s"]
    if not per_second:
        raise click.BadParameter(f"{text!r} is no rate: write 50/s, 3000/m or 10/h")
    return per_second


@click.command(cls=AppCommand)
@click.option("--from", "source", required=True, metavar="QUEUE", help="The queue that keeps copies, such as audit.")
@click.option("--to", "handler", required=True, metavar="HANDLER", help="The handler that gets them, and no other.")
@click.option("--type", "names", multiple=True, metavar="NAME", help="Only this type. Without it: all it takes.")
@click.option(
    "--since", type=past, metavar="TIME", help="Stored then or later: 2026-11-28T20:00, or 2h, which is two hours ago."
)
@click.option("--until", type=past, metavar="TIME", help="Stored before then.")
@click.option("--rate", "per_second", type=rate, metavar="RATE", help="At most so fast: 50/s, 3000/m.")
@click.option("--dry-run", is_flag=True, help="Count what would be replayed, and replay nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@with_app(required=True, queues="there")
def replay(
    app: Dawdle,
    *,
    source: str,
    handler: str,
    names: tuple[str, ...],
    since: datetime | None,
    until: datetime | None,
    per_second: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Give one handler events again, out of a queue that keeps copies.

    The copies come there by a route: routes={OrderPlaced: ("default", "audit")}, where no process listens to audit.
    They stay there, and reading hides none. The handler sees the same event ids once more, with the header `replayed`,
    so it must be idempotent. ^C ends it, and says how to go on.
    """
    chosen = _chosen(app, source, handler, names, since, until)
    seen = run_async(_count(app, chosen))
    if seen is None:
        return INTERRUPTED
    if seen.unreadable:
        err().print(
            f"{counted(seen.unreadable, 'event')} left out: this app does not know the type, or the data does not fit",
            style="yellow",
        )
    if dry_run:
        if as_json:
            print_json({"dry_run": True, "events": seen.events})
        else:
            out().print(f"{counted(seen.events, 'event')} would be replayed to {handler}{_lasts(seen, per_second)}")
        return 0
    if not seen.events:
        err().print(f"the queue {source!r} keeps no such event", style="dim")
    if seen.events > 1:
        confirm(f"Replay {counted(seen.events, 'event')} to {handler}{_lasts(seen, per_second)}?", yes=yes)
    outcome = run_async(_replay(app, chosen, seen, per_second))
    return _print_outcome(outcome, handler, as_json=as_json)


def _chosen(
    app: Dawdle, source: str, handler: str, names: tuple[str, ...], since: datetime | None, until: datetime | None
) -> Chosen:
    """Return what is meant. Raises `CommandError` for what the app does not have."""
    described = app.describe()
    found = next((each for each in described.handlers if handler in {each.name, *each.aliases}), None)
    if found is None:
        named = did_you_mean(handler, [each.name for each in described.handlers])
        raise CommandError(f"this app has no handler {handler!r}{named}")
    firsts = {each.queues[0] for each in described.event_types if each.queues and found.name in each.handlers}
    if source == found.queue or (found.queue is None and source in firsts):
        raise CommandError(f"{found.name} runs on the queue {source!r} itself: name a queue that keeps copies")
    if any(each.listened for each in described.queues if each.name == source):
        others = ", ".join(repr(each.name) for each in described.queues if each.name != source)
        err().print(
            f"warning: this app listens to {source!r}, so each worker that runs it as it is takes the copies out: "
            f"write listen=({others},)",
            style="yellow",
            soft_wrap=True,
        )
    taken = [each for each in described.event_types if found.name in each.handlers]
    takes = frozenset(name for each in taken for name in (each.name, *each.aliases))
    for name in names:
        if name not in takes:
            raise CommandError(f"{found.name} does not take {name!r}; it takes {', '.join(sorted(takes)) or 'none'}")
    now = datetime.now(UTC)
    end = now if until is None else min(until, now)
    return Chosen(source, found.name, takes, names or (tuple(takes) if found.events else ()), since, end)


async def _events(app: Dawdle, chosen: Chosen) -> AsyncGenerator[StoredEvent]:
    """Yield what is meant. An event may be None."""
    found = app.browse(*chosen.names, queue=chosen.source, since=chosen.since, until=chosen.until)
    async with aclosing(found) as events:
        async for event in events:
            # A copy that owes one handler is a retry: its event is here itself.
            if event.handler is None and (event.event is None or event.event_type in chosen.takes):
                yield event


async def _count(app: Dawdle, chosen: Chosen) -> Seen | None:
    """Return how many events are meant; None if ^C was pressed."""
    readable = unreadable = 0
    with progress() as bar, interruptible(bar.console) as interrupt:
        task = bar.add_task("looking", total=None)
        async with app.connected(), aclosing(_events(app, chosen)) as events:
            async for event in events:
                if interrupt.asked:
                    return None
                bar.advance(task)
                readable += event.event is not None
                unreadable += event.event is None
    return Seen(readable, unreadable)


async def _replay(app: Dawdle, chosen: Chosen, seen: Seen, per_second: float | None) -> Outcome:
    """Replay all, batch by batch, and return how far it came."""
    with progress() as bar, interruptible(bar.console) as interrupt:
        async with app.connected():
            return await _replay_batches(app, chosen, seen, per_second, interrupt, bar)


async def _replay_batches(
    app: Dawdle, chosen: Chosen, seen: Seen, per_second: float | None, interrupt: Interrupt, bar: Progress
) -> Outcome:
    task, began = bar.add_task("replaying", total=seen.events), asyncio.get_running_loop().time()
    done, latest = 0, Latest()
    async with aclosing(_batches(_events(app, chosen), _batch_size(per_second))) as batches:
        async for batch in batches:
            if per_second is not None:
                await interrupt.wait(began + done / per_second - asyncio.get_running_loop().time())
            if interrupt.asked:
                return Outcome(done, batch[0].stored_at, latest.at(batch[0].stored_at))
            answers = await asyncio.gather(*(_stored(app.replay(each, handler=chosen.handler)) for each in batch))
            failed = next((at for at, error in enumerate(answers) if error is not None), None)
            if failed is not None:
                # Those behind it may be stored: replayed again from here on, they come twice, and none is missing.
                next_at = batch[failed].stored_at
                since = next(at for at, each in enumerate(batch) if each.stored_at == next_at)
                again = latest.at(next_at) + answers[since:].count(None)
                return Outcome(done + answers.count(None), next_at, again, answers[failed])
            done, latest = done + len(batch), latest.with_batch(batch)
            bar.advance(task, len(batch))
    return Outcome(done)


async def _stored(call: Awaitable[None]) -> BackendError | None:
    try:
        await call
    except BackendError as error:
        return error
    return None


def _batch_size(per_second: float | None) -> int:
    return MAX_AT_ONCE if per_second is None else max(1, min(MAX_AT_ONCE, int(per_second * TICK_SECONDS)))


async def _batches(events: AsyncGenerator[StoredEvent], size: int) -> AsyncGenerator[list[StoredEvent]]:
    """Yield the events that can be replayed, so many at once."""
    batch: list[StoredEvent] = []
    async with aclosing(events):
        async for event in events:
            if event.event is not None:
                batch.append(event)
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


def _lasts(seen: Seen, per_second: float | None) -> str:
    """Return how long a replay takes at a rate, for a text."""
    if per_second is None:
        return ""
    seconds = ceil(seen.events / per_second)
    return f", at this rate in {seconds} s" if seconds < 120 else f", at this rate in {seconds / 60:,.0f} minutes"


def _print_outcome(outcome: Outcome, handler: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"replayed": outcome.events, "next_at": outcome.next_at, "again": outcome.again})
    else:
        out().print(f"{counted(outcome.events, 'event')} replayed to {handler}")
    if outcome.next_at is not None:
        go_on = outcome.next_at.isoformat()
        err().print(f"stopped: to go on, run it again with --since {go_on}", style="yellow", soft_wrap=True)
        if outcome.again:
            err().print(
                f"{outcome.again:,} of the replayed events come once more then: they were stored at that time or later",
                style="yellow",
                soft_wrap=True,
            )
    if outcome.error is not None:
        raise outcome.error
    return 0 if outcome.next_at is None else INTERRUPTED
