"""What a queue that stores nothing twice knows a copy by."""

import re

from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.dedup import dedup_of, dedup_of_event

texts = st.text(max_size=20)
copies = st.tuples(texts, st.none() | texts, st.none() | texts, st.sampled_from(["", "delayed", "dead letters"]))


def dedup(copy):
    event_id, handler, key, origin = copy
    return dedup_of(event_id, handler, key=key, origin=origin)


@given(copies, copies)
def test_two_copies_have_one_dedup_only_if_they_come_from_one_message_for_one_handler(one, other):
    assert (dedup(one) == dedup(other)) == (one == other)


@given(copies)
def test_every_queue_takes_it(copy):
    assert re.fullmatch(r"[0-9a-f]{64}", dedup(copy))


def test_it_is_the_same_in_every_release_since_nodes_of_two_releases_share_a_queue():
    assert dedup_of("e-1", "shop.mail", key="m7", origin="delayed") == (
        "1fd5a7cc41a4d8e63946075de3b3c245377f69f1dd7aa801c013693588d91182"
    )


@given(texts, texts, texts, texts)
def test_two_events_have_one_dedup_only_if_both_their_ids_and_their_sources_are_the_same(one, its, other, others):
    assert (dedup_of_event(one, its) == dedup_of_event(other, others)) == ((one, its) == (other, others))
