"""The ids of new events: random UUIDs that no other process gives out."""

import os
from concurrent.futures import ThreadPoolExecutor
from uuid import RFC_4122, UUID

import pytest

from dawdle._app.event_ids import new_id

pytestmark = pytest.mark.anyio


async def test_each_id_is_a_random_uuid_in_hex():
    for event_id in [new_id() for _ in range(500)]:
        known = UUID(event_id)
        assert (known.version, known.variant, known.hex) == (4, RFC_4122, event_id)


async def test_every_digit_that_may_vary_does():
    places = [set(place) for place in zip(*(new_id() for _ in range(2000)), strict=True)]
    assert places.pop(16) == set("89ab")
    assert places.pop(12) == {"4"}
    assert all(place == set("0123456789abcdef") for place in places)


async def test_no_id_is_given_out_twice_in_any_thread():
    with ThreadPoolExecutor(4) as pool:
        ids = [each for part in pool.map(lambda _: [new_id() for _ in range(100)], range(50)) for each in part]
    assert len(set(ids)) == 5000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
async def test_a_forked_process_gives_out_ids_of_its_own():
    new_id()
    theirs = _ids_of_a_child(100)
    assert len(theirs) == 100
    assert not theirs & {new_id() for _ in range(100)}


def _ids_of_a_child(count):
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(new_id() for _ in range(count)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = set(pipe.read().split())
    assert os.waitpid(child, 0)[1] == 0
    return theirs
