"""Entries fill a batch in order, as many as fit, and never more than the queue takes."""

from hypothesis import example, given
from hypothesis import strategies as st

from dawdle._rules.batch_size import entries_that_fit

sizes = st.lists(st.integers(0, 50), max_size=40)


def packed(entries, max_count, max_bytes):
    """Return all batches that a list of entries makes."""
    batches, rest = [], list(entries)
    while rest:
        count = entries_that_fit(rest, max_count, max_bytes)
        assert count >= 1, "a batch of nothing would be sent for ever"
        batches.append(rest[:count])
        rest = rest[count:]
    return batches


@given(sizes, st.integers(1, 12), st.integers(1, 100))
@example([100], 10, 50)
@example([50, 50], 10, 100)
@example([1, 100, 1], 10, 50)
def test_batches_keep_every_entry_in_order_and_the_queues_limits(entries, max_count, max_bytes):
    batches = packed(entries, max_count, max_bytes)
    assert [entry for batch in batches for entry in batch] == entries
    for batch in batches:
        assert len(batch) <= max_count
        assert sum(batch) <= max_bytes or len(batch) == 1


@given(sizes.filter(bool), st.integers(1, 12), st.integers(1, 100))
@example([50, 50, 1], 10, 100)
def test_a_batch_takes_as_many_as_fit(entries, max_count, max_bytes):
    count = entries_that_fit(entries, max_count, max_bytes)
    if count < len(entries):
        assert count == max_count or sum(entries[: count + 1]) > max_bytes


@given(sizes.filter(bool), st.integers(1, 12))
def test_an_entry_too_large_for_any_batch_goes_alone_for_the_queue_to_refuse(entries, max_count):
    for batch in packed([51, *entries, 51], max_count, 50):
        assert 51 not in batch or batch == [51]


def test_of_nothing_nothing_is_packed():
    assert entries_that_fit([], 10, 100) == 0
