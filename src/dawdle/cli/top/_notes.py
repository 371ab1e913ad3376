"""What the lines under the tables say: what cannot be known, why, and what to do about it. Values in, text out."""

from collections.abc import Sequence

from dawdle.cli.top._picture import QueueRow
from dawdle.cli.top._prices import SOURCE

__all__ = ["notes_of"]


def notes_of(
    queues: Sequence[QueueRow], *, workers_asked: bool, differences: Sequence[str], own_notes: Sequence[str]
) -> tuple[str, ...]:
    """Return the notes, the most urgent first. `own_notes`: what asking costs, and what is not asked."""
    notes = list(differences)
    if not workers_asked:
        notes.append(
            "handlers, rates and costs are known to the workers alone: start them with dawdle worker --health-port "
            "8080, and name each here: --workers http://host:8080"
        )
    notes += own_notes
    if any(each.dollars_per_month is not None for each in queues):
        notes.append(
            f"dollars a month: the requests of these workers in the last minute, for 730 hours, at $0.40 a million, "
            f"FIFO $0.50 ({SOURCE}). The free million is not taken off, and what other programs send is not in it"
        )
    return tuple(notes)
