"""Redrives and purges: says how many letters are meant, asks, and acts, with a bar. ^C ends it between two batches."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from dawdle import Dawdle, DeadLetter
from dawdle.cli._interrupt import interruptible
from dawdle.cli._output import Column, confirm, err, out, print_json, print_rows, progress
from dawdle.cli._running import INTERRUPTED, run_async
from dawdle.cli._texts import age, counted, one_line
from dawdle.cli.dead._filters import Filters
from dawdle.cli.dead._looking import Found, look, mark_of
from dawdle.cli.dead._names import require_known_names
from dawdle.cli.dead._queues import DeadLetterQueues

__all__ = ["Act", "act_on"]

Act = Literal["redrive", "purge"]

DONE: Final[dict[Act, str]] = {"redrive": "redriven", "purge": "deleted"}
DOING: Final[dict[Act, str]] = {"redrive": "redriving", "purge": "deleting"}

MAX_GROUPS_ASKED: Final = 3
"""Kinds of letters that a question names."""

GROUP_COLUMNS: Final = (
    Column("LETTERS", right=True),
    Column("TYPE"),
    Column("HANDLER"),
    Column("OLDEST", rank=2, right=True),
    Column("NEWEST", rank=1, right=True),
    Column("QUEUE", rank=3),
)


class StoppedError(Exception):
    """^C was pressed: the call ends before its next batch."""


def act_on(
    app: Dawdle,
    act: Act,
    filters: Filters,
    ids: Sequence[str],
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Redrive or purge what is meant, and return the exit code."""
    queues = DeadLetterQueues(app, filters.queue)
    found: Found | None = None
    # To count them is to receive them all once more. One who says yes beforehand need not wait for that.
    if ids or dry_run or not yes:
        found = run_async(_look(app, queues, filters, ids))
        if found is None:
            return INTERRUPTED
        if dry_run:
            _print_groups(found, act, as_json=as_json)
            if not found.letters:
                _print_hint(app, queues)
            return 0
        if found.letters and (act == "purge" or found.letters > 1):
            confirm(_question(act, found), yes=yes)
    done, why = (
        (0, None) if found is not None and not found.letters else run_async(_act(app, queues, act, filters, found))
    )
    if why is not None:
        err().print(f"stopped: {why}; all others are still in the dead-letter queue", style="yellow", soft_wrap=True)
        return INTERRUPTED
    return _print_done(app, queues, act, done, found, as_json=as_json)


async def _look(app: Dawdle, queues: DeadLetterQueues, filters: Filters, ids: Sequence[str]) -> Found | None:
    """Return what is meant; None if ^C was pressed."""
    with progress() as bar, interruptible(bar.console) as interrupt:
        async with app.connected():
            task = bar.add_task("looking", total=await _total(queues, filters, None))
            found = await look(app, queues, filters, ids, interrupt, lambda: bar.advance(task))
            if not found.letters and not interrupt.asked:
                await require_known_names(app, filters)
    return None if interrupt.asked else found


async def _act(
    app: Dawdle, queues: DeadLetterQueues, act: Act, filters: Filters, found: Found | None
) -> tuple[int, str | None]:
    """Redrive or purge. Return how many letters, and if ^C was pressed, what was done until then."""
    with progress() as bar, interruptible(bar.console) as interrupt:
        async with app.connected():
            task = bar.add_task(DOING[act], total=await _total(queues, filters, found))

            def where(letter: DeadLetter) -> bool:
                # The library asks about a whole batch before it acts on it. So all batches before this one are done,
                # and nothing is half done.
                if interrupt.asked:
                    raise StoppedError
                if not filters.meets(letter):
                    return False
                if found is not None and found.ids is not None and letter.event_id not in found.ids:
                    return False
                # The answer was given for what had been counted. An ordered queue shows ten letters of a group, and
                # those behind them once these are gone; and others may have come meanwhile.
                if found is not None and act == "purge" and mark_of(letter) not in found.seen:
                    return False
                bar.advance(task)
                return True

            call = app.redrive if act == "redrive" else app.purge
            try:
                done = await call(*filters.types, **filters.choice(where))
            except StoppedError as stopped:
                # The library notes how many it were. More than the bar has counted, it knows which were refused.
                return 0, "; ".join(getattr(stopped, "__notes__", ())) or f"no letter was {DONE[act]}"
            if not done and found is None:
                await require_known_names(app, filters)
            return done, None


async def _total(queues: DeadLetterQueues, filters: Filters, found: Found | None) -> int | None:
    """Return how many letters it will be, for the bar; None where that is not known."""
    if found is not None:
        return found.letters
    counts = await queues.count() if filters.is_empty else None
    return None if counts is None else counts[0]


def _print_done(
    app: Dawdle, queues: DeadLetterQueues, act: Act, done: int, found: Found | None, *, as_json: bool
) -> int:
    if as_json:
        print_json({DONE[act]: done})
    else:
        out().print(f"{counted(done, 'dead letter')} {DONE[act]}")
    left = 0 if found is None else found.letters - done
    if left > 0:
        err().print(
            f"{counted(left, 'dead letter')} less than were counted: another process has taken them, or a warning "
            f"above says why they were left",
            style="yellow",
        )
        return 1
    if not done:
        _print_hint(app, queues)
    return 0


def _print_hint(app: Dawdle, queues: DeadLetterQueues) -> None:
    """Print where no letter was found."""

    async def hint() -> str:
        async with app.connected():
            return await queues.where_it_may_be()

    err().print(run_async(hint()), style="dim", soft_wrap=True)


def _question(act: Act, found: Found) -> str:
    kinds = [
        f"{group.letters:,} {one_line(group.event_type)}{f' for {one_line(group.handler)}' if group.handler else ''}"
        for group in found.groups[:MAX_GROUPS_ASKED]
    ]
    rest = found.letters - sum(group.letters for group in found.groups[:MAX_GROUPS_ASKED])
    named = ", ".join([*kinds, *([f"{rest:,} others"] if rest else [])])
    verb, for_good = ("Redrive", "") if act == "redrive" else ("Delete", " for good")
    return f"{verb} {counted(found.letters, 'dead letter')}{for_good} ({named})?"


def _print_groups(found: Found, act: Act, *, as_json: bool) -> None:
    if as_json:
        print_json({"dry_run": True, "letters": found.letters, "groups": found.groups})
        return
    now = datetime.now(UTC)
    print_rows(
        GROUP_COLUMNS,
        [
            (
                group.letters,
                one_line(group.event_type),
                one_line(group.handler or "-"),
                age(group.oldest, now),
                age(group.newest, now),
                group.queue,
            )
            for group in found.groups
        ],
        empty="no dead letters that are meant",
    )
    err().print(f"dry run: {counted(found.letters, 'dead letter')} would be {DONE[act]}", style="dim")
