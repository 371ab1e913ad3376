"""What other producers write differently is read as they mean it, and an unreadable `time` costs no event."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.envelope import headers_of, open_envelope, rewrite
from dawdle.errors import EventError

CORE = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "orders.placed"}
MARK = b"\xef\xbb\xbf"

unknown = st.dictionaries(st.from_regex(r"x[a-z0-9]{1,8}", fullmatch=True), st.text("abc\n "), max_size=3)


def body_of(**attributes):
    return json.dumps({**CORE, **attributes}).encode()


@given(unknown, st.sampled_from([b"", b"\n ", b"\r\n\t"]))
def test_a_byte_order_mark_is_skipped_by_all_that_reads_and_is_in_no_copy(attributes, space):
    body = space + body_of(**attributes, data={"n": 1})
    assert open_envelope(MARK + body) == open_envelope(body)
    assert headers_of(MARK + body) == headers_of(body)
    assert rewrite(MARK + body, {"dawdleattempt": 2}) == rewrite(body, {"dawdleattempt": 2})


@pytest.mark.parametrize("odd", [MARK * 2, b"\xff\xfe", b"\xef\xbb"])
def test_any_other_mark_is_no_event(odd):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(odd + body_of())


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2016-12-31t23:59:60.5z", datetime(2017, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2016-12-31T15:59:60-08:00", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2026-01-18T24:00:00Z", datetime(2026, 1, 19, tzinfo=UTC)),
        ("2026-12-31 24:00:00.000+01:00", datetime(2026, 12, 31, 23, tzinfo=UTC)),
        ("2016-12-31T23:59:60", datetime(2017, 1, 1)),  # noqa: DTZ001 - it says no zone, and counts as UTC elsewhere
    ],
)
@pytest.mark.parametrize("name", ["time", "dawdledue", "dawdlesince", "dawdledead"])
def test_a_leap_second_is_the_second_after_it_and_24_oclock_the_next_day(name, written, meant):
    envelope = open_envelope(body_of(**{name: written}))
    found = {"time": envelope.time, "dawdledue": envelope.due, "dawdlesince": envelope.since}
    assert found.get(name, envelope.dead) == meant


UNREADABLE = [
    "yesterday",
    "",
    "2026-01-18",
    "2026-01-18T25:00:00Z",
    "2026-01-18T24:00:01Z",
    "2026-01-18T23:59:61Z",
    "9999-12-31T24:00:00Z",
    "9999-12-31T23:59:60Z",
    1_750_000_000,
    {"$date": 1},
    ["2026"],
    True,
]


@pytest.mark.parametrize("time", UNREADABLE)
def test_a_time_that_cannot_be_read_costs_the_event_its_time_and_nothing_else(time):
    assert open_envelope(body_of(time=time, data=[1])) == open_envelope(body_of(data=[1]))


@pytest.mark.parametrize("time", UNREADABLE)
@pytest.mark.parametrize("name", ["dawdledue", "dawdlesince", "dawdledead"])
def test_a_time_that_steers_and_cannot_be_read_is_an_error(name, time):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body_of(**{name: time}))


def test_a_time_that_is_read_differently_survives_every_copy_as_it_was_written():
    body = body_of(time="2016-12-31T23:59:60Z", subject="x")
    assert msgspec.json.decode(rewrite(body, {"dawdleattempt": 2}))["time"] == "2016-12-31T23:59:60Z"
