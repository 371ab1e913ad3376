from io import StringIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from dawdle.cli.top._frame import SORTS, View, frame, render
from dawdle.cli.top._table import Cell, Column, table
from dawdle.cli.top._text import age, count, dollars, memory, rate, seconds
from tests.cli.top.snapshots import answer, asked, busy_picture, handler, picture, worker

LIVE = View(keys=True)


def text_of(lines):
    return ["".join(span.text for span in line).rstrip() for line in lines]


def titles(lines, first):
    return next(line for line in text_of(lines) if line.startswith(first)).split("  ")


@pytest.mark.parametrize("view", [LIVE, View(keys=True, help=True), View(paused=True)])
@pytest.mark.parametrize("width", [1, 20, 80, 200])
@pytest.mark.parametrize("height", [1, 10, 24, None])
def test_a_frame_fits_any_terminal(view, width, height):
    lines = frame(busy_picture(), view, width, height)
    assert max(cell_len("".join(span.text for span in line)) for line in lines) <= width
    if height is not None:
        assert len(lines) <= height


@given(
    st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=30), min_size=1, max_size=5), st.integers(1, 60)
)
def test_a_table_is_never_wider_than_it_may_be(names, width):
    rows = [(Cell(name), Cell("1,234"), Cell("5")) for name in names]
    for line in table([Column("NAME"), Column("A", 2), Column("B", 1)], rows, width):
        assert cell_len("".join(span.text for span in line)) <= width


def test_a_narrow_terminal_loses_the_least_important_columns_first():
    made = busy_picture()
    at_200, at_80, at_40 = (" ".join(text_of(frame(made, LIVE, width))) for width in (200, 80, 40))
    assert all(name in at_200 for name in ("REQ/EVENT", "EMPTY/MIN", "$/MONTH", "WAITED", "P50", "PROCESSES"))
    assert "$/MONTH" in at_80
    assert "EMPTY/MIN" not in at_80
    assert all(name in at_80 for name in ("WAITING", "DELAYED", "IN FLIGHT", "OLDEST", "RUNS/S", "P99", "FAILED"))
    assert "WAITING" in at_40
    assert "RUNS/S" in at_40
    assert "P50" not in at_40


def test_figures_that_cannot_be_known_take_no_room():
    alone = " ".join(text_of(frame(picture(queues=[asked()]), View(), 200)))
    assert "DEAD" in alone
    assert not any(title in alone for title in ("SENT/S", "RECV/S", "REQ/EVENT", "EMPTY/MIN", "$/MONTH"))
    of_a_file = picture(queues=[asked(system="sqlite")], workers=[answer(worker())])
    watched = " ".join(text_of(frame(of_a_file, View(), 200)))
    assert "REQ/EVENT" in watched
    assert "$/MONTH" not in watched


def test_a_long_name_keeps_its_end():
    lines = text_of(frame(busy_picture(), LIVE, 60))
    assert any(line.startswith("…") and "send_receipt" in line for line in lines)


def test_a_low_screen_keeps_some_of_each_part_and_says_that_more_is_there():
    many = worker(handlers=tuple(handler(f"handler-{at}") for at in range(40)))
    lines = text_of(frame(picture(queues=[asked()], workers=[answer(many)]), LIVE, 80, 24))
    assert len(lines) == 24
    assert any(line.startswith("QUEUE") for line in lines)
    assert any(line.startswith("handler-0") for line in lines)
    assert any("more lines" in line for line in lines)
    assert lines[-1].startswith("q quit")


def test_the_keys_stand_at_the_foot_of_the_screen_and_nowhere_without_a_keyboard():
    assert text_of(frame(busy_picture(), LIVE, 80, 40))[39].startswith("q quit")
    assert not any("q quit" in line for line in text_of(frame(busy_picture(), View(), 80)))


def order(by):
    rows = (
        handler("a", recent_runs=1, durations={100: 1}, failures=9),
        handler("b", recent_runs=9, durations={90: 9}, failures=1, recent_failures=1),
        handler("c", recent_runs=5, durations={120: 5}),
    )
    lines = text_of(frame(picture(workers=[answer(worker(handlers=rows))]), View(sort=by), 80))
    return [line[0] for line in lines if line[:2] in {"a ", "b ", "c "}]


@pytest.mark.parametrize(("by", "names"), [("name", "abc"), ("rate", "bca"), ("p99", "cab"), ("failures", "bac")])
def test_handlers_are_sorted_by_each_key(by, names):
    assert by in SORTS
    assert order(by) == list(names)


def test_a_handler_that_fails_now_is_red_and_one_that_failed_once_is_not():
    rows = (handler("now", failures=3, recent_failures=1), handler("then", failures=7))
    lines = frame(picture(workers=[answer(worker(handlers=rows))]), View(), 80)
    styles = {span.text.strip(): span.style for line in lines for span in line}
    assert styles["3"] == "bold red"
    assert any(
        span.text.strip() == "7" or span.text.endswith(" 7") for line in lines for span in line if not span.style
    )


def test_what_others_wrote_cannot_move_the_cursor():
    told = worker(app="shop\x1b[2Japp", host="web\n1", reasons=("a\x1b]0;b\x07",), handlers=(handler("x\x1b[1Ay"),))
    made = picture(queues=[asked(error="access\x1b[31m denied")], workers=[answer(told)], app=None)
    for view in (LIVE, View(help=True)):
        assert all(span.text.isprintable() for line in frame(made, view, 200, 40) for span in line)
    words = " ".join(text_of(frame(made, LIVE, 200)))
    assert "x�[1Ay" in words
    assert "default: access�[31m denied" in words


def test_an_error_of_a_queue_stands_under_the_queues_on_a_low_screen_too():
    many = worker(handlers=tuple(handler(f"handler-{at}") for at in range(40)))
    made = picture(queues=[asked(error="access denied")], workers=[answer(many)])
    assert "default: access denied" in text_of(frame(made, LIVE, 80, 14))


def test_an_unhealthy_worker_says_why():
    made = picture(workers=[answer(worker(pid=77, healthy=False, reasons=("default: access denied",)))])
    lines = text_of(frame(made, View(), 80))
    assert "unhealthy" in lines[0]
    assert "process 77 is unhealthy: default: access denied" in lines


def test_on_a_low_screen_help_has_pages_that_show_all_of_it():
    made = busy_picture()
    view = View(keys=True, help=True)
    whole = [line for line in text_of(frame(made, View(help=True), 80))[2:] if line]
    pages = [text_of(frame(made, view._replace(page=page), 80, 24)) for page in range(3)]
    seen = [line for page in pages[:2] for line in page[2:-1] if line]
    assert seen == whole
    assert pages[2] == pages[0]
    assert all(len(page) == 24 for page in pages)
    assert [page[-1] for page in pages[:2]] == [
        "space more (1 of 2)   ? back   q quit",
        "space more (2 of 2)   ? back   q quit",
    ]
    assert frame(made, view._replace(page=-1), 80, 24) == frame(made, view._replace(page=1), 80, 24)


def test_help_that_fits_has_one_page():
    lines = text_of(frame(busy_picture(), View(keys=True, help=True), 200, 60))
    assert lines[-1] == "? back   q quit"


def test_a_low_screen_shows_the_first_notes_and_how_to_see_the_rest():
    many = worker(handlers=tuple(handler(f"handler-{at}") for at in range(40)))
    made = picture(queues=[asked()], workers=[answer(many)], own_notes=[f"note {at}" for at in range(9)])
    lines = text_of(frame(made, LIVE, 80, 24))
    assert lines[-4:-1] == ["note 0", "note 1", "… 7 more lines: ? shows them"]


def test_help_explains_every_column():
    words = " ".join(text_of(frame(busy_picture(), View(help=True), 200)))
    for title in (*titles(frame(busy_picture(), View(), 300), "QUEUE")[1:],):
        assert title.strip() in words


def printed(**options):
    console = Console(file=StringIO(), **options)
    render(console, busy_picture())
    return console.file.getvalue()


def test_a_picture_is_printed_on_a_console_of_rich():
    plain = printed(width=100)
    assert "\x1b" not in plain
    assert all(len(line) <= 100 for line in plain.splitlines())
    assert "http://web-2:8080 does not answer: connection refused" in plain
    assert "\x1b[31m" in printed(width=100, force_terminal=True, color_system="standard")


def test_no_color_leaves_bold_letters_alone():
    text = printed(width=100, force_terminal=True, color_system="standard", no_color=True)
    assert "\x1b[1m" in text
    assert "\x1b[31m" not in text


def test_a_picture_is_a_line_of_json():
    read = msgspec.json.decode(msgspec.json.encode(busy_picture()))
    assert read["queues"][0]["waiting"] == 1204
    assert read["handlers"][0]["p99"] > 0.08
    assert read["workers"][1]["error"] == "does not answer: connection refused"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (seconds(None), "-"),
        (seconds(0.00031), "310 µs"),
        (seconds(0.0031), "3.1 ms"),
        (seconds(0.9999), "1.0 s"),
        (seconds(59.7), "60 s"),
        (seconds(192), "3m 12s"),
        (age(7.9), "7s"),
        (age(7500), "2h 5m"),
        (age(273_600), "3d 4h"),
        (rate(0.0), "0.0"),
        (rate(0.04), "0.04"),
        (rate(3), "3.0"),
        (rate(1204), "1,204"),
        (count(1204), "1,204"),
        (dollars(0.054), "$0.05"),
        (dollars(31_536), "$31,536"),
        (memory(84_000_000), "84 MB"),
        (memory(1_200_000_000), "1.2 GB"),
    ],
)
def test_figures_are_written_short(written, text):
    assert written == text
