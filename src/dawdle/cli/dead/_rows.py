"""Dead letters as rows of a table and as JSON. Reads letters that are given; looks for none."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

import msgspec

from dawdle import DeadLetter
from dawdle.cli._output import Column
from dawdle.cli._texts import age, one_line

__all__ = ["COLUMNS", "LetterRow", "oldest_first", "row_of", "short_ids", "table"]

COLUMNS: Final = (
    Column("ID"),
    Column("AGE", right=True),
    Column("TYPE", rank=2),
    Column("HANDLER", rank=1),
    Column("ATTEMPTS", rank=3, right=True),
    Column("REASON"),
    Column("QUEUE", rank=4),
)

MIN_ID: Final = 8
"""Characters of an id that a terminal shows at least."""


class LetterRow(msgspec.Struct, kw_only=True):
    """A letter as `--json` prints it: all that is known."""

    event_id: str
    event_type: str
    handler: str | None
    attempts: int
    error: str
    since: datetime | None
    dead_at: datetime | None
    signaled_at: datetime | None
    queue: str
    origin: str | None
    headers: dict[str, str]
    message: msgspec.Raw | None
    """The message in the dead-letter queue, a CloudEvent whose `data` is the event; None if it is no JSON."""
    message_base64: bytes | None
    """The message if it is no JSON."""


def row_of(letter: DeadLetter) -> LetterRow:
    """Return what `--json` prints of a letter."""
    try:
        msgspec.json.decode(letter.body)
        is_json = True
    except (msgspec.MsgspecError, UnicodeDecodeError):
        is_json = False
    return LetterRow(
        event_id=letter.event_id,
        event_type=letter.event_type,
        handler=letter.handler,
        attempts=letter.attempts,
        error=letter.error,
        since=letter.since,
        dead_at=letter.dead_at,
        signaled_at=letter.signaled_at,
        queue=letter.queue,
        origin=letter.origin,
        headers=dict(letter.headers),
        message=msgspec.Raw(letter.body) if is_json else None,
        message_base64=None if is_json else letter.body,
    )


def oldest_first(rows: Iterable[LetterRow]) -> list[LetterRow]:
    """Return letters by their age. Those whose age is not known come first."""
    return sorted(rows, key=lambda row: 0.0 if row.since is None else row.since.timestamp())


def table(rows: Sequence[LetterRow], *, shorten: bool) -> Iterable[Sequence[object]]:
    """Return the rows of a table. `shorten`: an id is as short as `show` takes it."""
    short, now = short_ids([row.event_id for row in rows]) if shorten else {}, datetime.now(UTC)
    for row in rows:
        yield (
            one_line(short.get(row.event_id, row.event_id)),
            age(row.since, now),
            one_line(row.event_type),
            one_line(row.handler or "-"),
            row.attempts,
            one_line(row.error),
            row.queue,
        )


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return for each id its shortest beginning that no other id has, of at least `MIN_ID` characters."""
    ordered = sorted(set(ids))
    # What each has in common with the one before it, and with the one after it.
    common = [0, *(_common(*pair) for pair in pairwise(ordered)), 0]
    return {
        each: each[: max(MIN_ID, before + 1, after + 1)]
        for each, before, after in zip(ordered, common, common[1:], strict=False)
    }


def _common(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
