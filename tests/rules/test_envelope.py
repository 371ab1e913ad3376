"""What dawdle does not know about a message survives every forward; what it writes, every queue takes."""

import base64
import json
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle._rules.envelope import (
    ERROR_BYTES,
    aware,
    check_headers,
    clip,
    headers_of,
    open_envelope,
    rewrite,
    to_epoch,
    to_rfc3339,
    write,
    write_event,
)
from dawdle.errors import ConfigurationError, EventError

CORE = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "orders.placed"}

texts = st.text(st.characters(exclude_categories=["Cs"]))
names = st.text("abcxyz059", min_size=1, max_size=20).filter(
    lambda name: not name.startswith("dawdle") and name not in {*CORE, "time", "datacontenttype", "data"}
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=4,
)
OWN = [f"dawdle{name}" for name in ("delay", "due", "attempt", "owed", "since", "trial", "cause", "error")]
times = st.datetimes(min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29))  # noqa: DTZ001 - some are naive
own = st.fixed_dictionaries(
    {},
    optional={
        "dawdledelay": st.integers(0, 10**15 - 1).map(str),
        "dawdledue": times.map(lambda time: f"{time.isoformat()}Z"),
        "dawdleattempt": st.integers(1, 2**31 - 1),
        "dawdleowed": st.text("abc.:-_", min_size=1),
        "dawdlesince": times.map(lambda time: f"{time.isoformat()}+02:00"),
        "dawdletrial": st.integers(0, 2**31 - 1),
        "dawdlecrowded": st.integers(0, 2**31 - 1),
        "dawdlelifetime": st.integers(0, 10**15 - 1).map(str),
        "dawdleexpires": times.map(lambda time: f"{time.isoformat()}Z"),
        "dawdleexpired": texts,
        "dawdlecause": texts,
        "dawdleerror": texts,
    },
)
pretty = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"sort_keys": True}])


def body_of(attributes, style=None):
    return json.dumps(attributes, **(style or {})).encode()


@pytest.mark.slow
@given(st.dictionaries(names, values, max_size=5), values, own, pretty)
def test_a_foreign_event_is_read_and_every_attribute_survives_a_forward_to_the_byte(unknown, data, ours, style):
    body = body_of({**unknown, **CORE, "data": data, **ours}, style)
    raws = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    copy = rewrite(body, {"dawdleattempt": 7, "dawdledelay": None, "dawdleowed": "bob"})
    after = msgspec.json.decode(copy, type=dict[str, msgspec.Raw])
    for name in (*unknown, *CORE, "data"):
        assert bytes(after[name]) == escaped(bytes(raws[name]))
    kept = [name for name in raws if name in after]
    assert list(after)[: len(kept)] == kept, "and stays in its order"
    assert "dawdledelay" not in after
    envelope = open_envelope(copy)
    assert (envelope.id, envelope.type, envelope.attempt, envelope.owed) == ("e-1", "orders.placed", 7, "bob")


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1),
    texts,
    texts,
    st.floats(0, 4e9),
    st.dictionaries(names, texts, max_size=3),
    values,
    st.none() | st.binary(),
)
def test_a_first_copy_is_written_as_any_other_body(event_id, source, wire_name, now, headers, data, other_codecs):
    attributes = {"specversion": "1.0", "id": event_id, "source": source, "type": wire_name}
    attributes["time"] = datetime.fromtimestamp(now, UTC)
    if other_codecs is None:
        raw = msgspec.json.encode(data)
        expected = write({**attributes, **headers, "data": msgspec.Raw(raw)})
        assert write_event(event_id, source, wire_name, now, headers, raw) == expected
    else:
        more = {**headers, "data_base64": other_codecs}
        assert write_event(event_id, source, wire_name, now, more, None) == write({**attributes, **more})


@pytest.mark.parametrize("place", ["id", "source", "type", "header"])
def test_a_lone_surrogate_anywhere_in_a_first_copy_is_an_error(place):
    text = {**dict.fromkeys(("id", "source", "type", "header"), "x"), place: "\ud800"}
    with pytest.raises(EventError, match="text holds a lone surrogate, which UTF-8 cannot encode"):
        write_event(text["id"], text["source"], text["type"], 0.0, {"tenant": text["header"]}, b"{}")


def escaped(raw):
    return raw.replace("\ufffe".encode(), b"\\ufffe").replace("\uffff".encode(), b"\\uffff")


@pytest.mark.slow
@given(st.dictionaries(names, values, max_size=5), own)
def test_a_rewrite_without_changes_changes_nothing(unknown, ours):
    body = write({**CORE, **unknown, **ours})
    assert rewrite(body, {}) == body
    assert rewrite(body, {"nobodyhasthis": None}) == body
    assert json.loads(rewrite(rewrite(body, {"x": "1"}), {"x": None})) == {
        name: value for name, value in json.loads(body).items() if name != "x"
    }


@given(own)
def test_what_dawdle_wrote_is_what_it_reads(ours):
    envelope = open_envelope(body_of({**CORE, **ours}))
    assert envelope.delay_ms == ours.get("dawdledelay")
    assert envelope.attempt == ours.get("dawdleattempt", 1)
    assert envelope.owed == ours.get("dawdleowed")
    assert envelope.trial == ours.get("dawdletrial", 0)
    assert envelope.crowded == ours.get("dawdlecrowded")
    assert envelope.counted == (ours["dawdlecrowded"] / 1e6 if "dawdlecrowded" in ours else None)
    assert envelope.cause == ours.get("dawdlecause")
    assert envelope.lifetime_ms == ours.get("dawdlelifetime")
    assert envelope.expired == ours.get("dawdleexpired")
    assert envelope.error == ours.get("dawdleerror")
    for found, name in (
        (envelope.due, "dawdledue"),
        (envelope.since, "dawdlesince"),
        (envelope.expires, "dawdleexpires"),
    ):
        assert (found is None) == (name not in ours)
        if found is not None:
            assert found == datetime.fromisoformat(ours[name])


@given(st.dictionaries(names, texts | st.sampled_from(["\ufffe", "a\uffff\\", "\\\ufffe", "\x00\x7f"]), max_size=5))
def test_headers_come_back_as_they_were_given(headers):
    assert headers_of(write({**CORE, **headers, "time": "2026-01-01T00:00:00Z", "dawdleattempt": 2})) == headers


@pytest.mark.slow
@given(st.dictionaries(names, values.filter(lambda value: not isinstance(value, str)), max_size=5))
def test_a_foreign_attribute_that_is_no_text_is_seen_as_its_json(unknown):
    headers = headers_of(body_of({**CORE, **unknown}))
    expected = {name: value for name, value in unknown.items() if value is not None}
    assert {name: json.loads(value) for name, value in headers.items()} == expected


@given(texts, st.sampled_from(["\ufffe", "\uffff", "\\\ufffe", '"\uffff']), texts)
def test_the_noncharacters_that_a_queue_refuses_travel_escaped(before, refused, after):
    text = before + refused + after
    for body in (
        write({**CORE, "data": text}),
        write({**CORE, "data": msgspec.Raw(msgspec.json.encode({text: [text]}))}),
        rewrite(body_of(CORE), {"dawdleerror": text}),
    ):
        assert "\ufffe" not in body.decode()
        assert "\uffff" not in body.decode()
        assert not {byte for byte in body if byte < 0x20}
    assert json.loads(write({**CORE, "data": text}))["data"] == text


@given(st.text(), st.characters(categories=["Cs"]), st.text())
def test_a_lone_surrogate_is_refused_before_anything_is_stored(before, surrogate, after):
    with pytest.raises(EventError, match="lone surrogate"):
        write({**CORE, "customer": before + surrogate + after})


@given(st.binary(max_size=200))
def test_binary_data_travels_as_base64(data):
    body = write({**CORE, "data_base64": data})
    assert json.loads(body)["data_base64"] == base64.b64encode(data).decode()
    assert open_envelope(body).data_base64 == data
    assert open_envelope(rewrite(body, {"dawdleattempt": 2})).data_base64 == data


@pytest.mark.slow
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode(errors="replace")) | values.map(body_of)
)
def test_whatever_bytes_arrive_they_are_an_envelope_or_an_error_of_ours(body):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"specversion": "0.3"},
        {"specversion": 1.0},
        {"id": ""},
        {"id": 5},
        {"source": ""},
        {"type": ""},
        {"type": None},
        {"dawdlelifetime": 5},
        {"dawdlelifetime": "-5"},
        {"dawdleexpires": "soon"},
        {"dawdleexpired": 5},
        {"dawdledelay": 5},
        {"dawdledelay": "-5"},
        {"dawdledelay": "1e3"},
        {"dawdledelay": "1" * 16},
        {"dawdleattempt": 0},
        {"dawdleattempt": 2**31},
        {"dawdleattempt": "2"},
        {"dawdleowed": ""},
        {"dawdletrial": -1},
        {"dawdlecrowded": -1},
        {"dawdlecrowded": 0.5},
        {"dawdlecrowded": 2**31},
        {"dawdledue": 1750000000},
        {"data_base64": "§"},
    ],
)
def test_an_attribute_that_is_not_what_the_standard_or_dawdle_says_is_an_error(wrong):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body_of({**CORE, **wrong}))


@pytest.mark.parametrize("missing", list(CORE))
def test_an_event_without_a_required_attribute_is_an_error(missing):
    with pytest.raises(EventError, match=missing):
        open_envelope(body_of({name: value for name, value in CORE.items() if name != missing}))


@pytest.mark.parametrize("depth", [10, 100_000])
def test_data_that_is_nested_without_end_is_no_crash(depth):
    body = write({**CORE, "data": msgspec.Raw(b"[" * depth + b"]" * depth)})
    if depth < 100:
        assert open_envelope(body).id == "e-1"
    else:
        with pytest.raises(EventError):
            open_envelope(body)


@given(times, st.integers(-23 * 60, 23 * 60))
def test_a_timestamp_means_the_same_whatever_its_offset_and_utc_without_one(time, minutes):
    offset = timezone(timedelta(minutes=minutes))
    assert to_epoch(time) == to_epoch(time.replace(tzinfo=UTC))
    assert to_epoch(time.replace(tzinfo=UTC).astimezone(offset)) == pytest.approx(to_epoch(time), abs=1e-3)
    assert aware(time).tzinfo is UTC


@given(st.text(), st.integers(0, 50) | st.just(ERROR_BYTES))
def test_an_error_is_cut_to_whole_characters_within_its_bytes(text, limit):
    cut = clip(text, limit)
    carried = text.encode(errors="replace").decode()
    sendable = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", "?", carried)
    assert len(cut.encode()) <= limit
    assert sendable.startswith(cut)
    if cut != sendable and carried == sendable:
        assert len(cut.encode()) > limit - 4, "and no more is cut than must be"
    write({**CORE, "dawdleerror": cut})


@given(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), st.text())
def test_a_header_is_lower_case_letters_and_digits_with_a_text(name, value):
    if name in {*CORE, "time", "data", "datacontenttype"} or name.startswith("dawdle"):
        with pytest.raises(ConfigurationError, match="taken"):
            check_headers({name: value})
    else:
        check_headers({name: value})


@pytest.mark.parametrize("name", [*CORE, "time", "data", "datacontenttype", "dawdleowed", "dawdlenew"])
def test_a_header_under_a_name_that_dawdle_writes_itself_is_refused(name):
    with pytest.raises(ConfigurationError, match=f"'{name}' is taken"):
        check_headers({name: "x"})


@pytest.mark.parametrize("name", ["", "Tenant", "tenant-id", "tenant_id", "a" * 21, "naïve", "a\n", "٣", 5, None])
def test_a_header_under_a_name_that_cannot_travel_is_refused(name):
    with pytest.raises(ConfigurationError, match="1 to 20 of a-z and 0-9"):
        check_headers({name: "x"})


@pytest.mark.parametrize("value", [5, None, b"x", ["x"]])
def test_a_header_that_is_no_text_is_refused(value):
    with pytest.raises(ConfigurationError, match="'tenant' is text"):
        check_headers({"tenant": value})


@pytest.mark.parametrize("attribute", [b'"x":"\xff"', b'"\xff":"x"', b'"x":"\xed\xa0\x80"', b'"data":"\xff"'])
def test_a_body_that_is_not_utf8_is_refused_also_where_nobody_reads_it(attribute):
    body = body_of(CORE)[:-1] + b"," + attribute + b"}"
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body)


@pytest.mark.parametrize("odd", [{"odd": "\ud800"}, {"odd": ["\udc00 x"]}, {"\ud800": 1}, {"data": {"a": "\ud800"}}])
def test_a_body_with_a_lone_surrogate_anywhere_is_refused_so_that_no_part_of_it_breaks_later(odd):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body_of({**CORE, "tenant": "t-1", **odd}))


def test_a_foreign_attribute_that_is_null_is_no_header():
    assert headers_of(body_of({**CORE, "subject": None})) == {}


@pytest.mark.parametrize("name", ["time", "datacontenttype", "data_base64", *OWN])
def test_an_attribute_of_ours_that_is_null_counts_as_not_there(name):
    bare = open_envelope(body_of({**CORE, "data": None}))
    assert open_envelope(body_of({**CORE, "data": None, name: None})) == bare
    assert bytes(bare.data) == b"null", "which is data, and no attribute"


@pytest.mark.parametrize("wrong", [{"id": None}, {"dawdleattempt": None, "dawdletrial": "x"}, {"specversion": None}])
def test_a_null_makes_nothing_right_that_is_wrong_without_it(wrong):
    with pytest.raises(EventError, match="not a CloudEvent"):
        open_envelope(body_of({**CORE, **wrong}))


@given(st.text(), st.integers(1, 50))
def test_a_cut_error_is_at_most_twice_as_long_in_json(text, limit):
    cut = clip(text, limit)
    assert len(cut.encode()) <= limit
    assert len(write({"e": cut})) <= len('{"e":""}') + 2 * limit


@pytest.mark.parametrize("code", [*range(32), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)])
def test_control_characters_do_not_travel_in_an_error(code):
    assert clip(f"a{chr(code)}b") == (f"a{chr(code)}b" if chr(code) in "\t\n\r" else "a?b")


@pytest.mark.parametrize("epoch", [1e300, 1.7e308, 10.0**15])
def test_a_moment_beyond_what_a_timestamp_can_name_is_the_last_one(epoch):
    assert to_rfc3339(epoch) == "9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize("epoch", [-1e300, to_epoch(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))])
def test_a_moment_before_what_a_timestamp_can_name_is_the_first_one(epoch):
    assert to_rfc3339(epoch) == "0001-01-01T00:00:00.000Z"


@given(times)
def test_a_moment_is_a_timestamp_that_can_be_read_in_every_year(time):
    written = msgspec.convert(to_rfc3339(to_epoch(time)), datetime)
    assert timedelta(microseconds=-50) <= written - aware(time) <= timedelta(milliseconds=2)  # as fine as a float is


def test_a_header_that_is_no_text_is_shown_as_its_json_however_large_its_number():
    body = write({**CORE, "a": msgspec.Raw(b"1e999"), "b": [1, "x"], "c": None, "d": True})
    assert headers_of(body) == {"a": "1e999", "b": '[1,"x"]', "d": "true"}
