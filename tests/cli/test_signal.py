"""`dawdle signal`: what it stores, and what it refuses."""

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from dawdle.backends.sqlite import SQLite
from tests.cli.shop import MAIN


@pytest.fixture
def shop(cli):
    cli.write("shop.py", MAIN)
    return cli


def stored(shop):
    """The events in the queue, each its type and its data."""
    found = []

    async def look():
        async with SQLite(shop.where / "app.db") as queue:
            while batch := await queue.receive(10, 0):
                found.extend(json.loads(each.body) for each in batch)
            return found, await queue.count()

    return asyncio.run(look())


def test_an_event_is_stored_and_its_id_printed(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}', "--header", "tenant=a")
    assert ran.code == 0, ran.err
    ((event,), _) = stored(shop)
    assert event["id"] == ran.out.strip()
    assert (event["type"], event["data"], event["tenant"]) == (
        "OrderPlaced",
        {"order_id": "o-1", "total": 0},
        "a",
    )


def test_a_delay_an_id_and_a_terminal(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}', "--delay", "5m", "--id", "mine", terminal=80)
    assert ran.out == "stored event mine\n"
    events, counts = stored(shop)
    assert (events, counts.delayed) == ([], 1)


def test_each_line_of_standard_input_is_an_event(shop):
    lines = "".join(f'{{"order_id": "o-{n}"}}\n' for n in range(1200))
    ran = shop("signal", "shop:app", "OrderPlaced", stdin=lines)
    assert ran.code == 0
    events, _ = stored(shop)
    assert [each["data"]["order_id"] for each in events] == [f"o-{n}" for n in range(1200)]
    assert [each["id"] for each in events] == ran.out.split()


def test_lines_may_name_their_type_and_id(shop):
    lines = """{"type": "OrderPlaced", "data": {"order_id": "o-1"}, "id": "a"}

{"type": "cancelled", "data": {"order_id": "o-2"}}
"""
    ran = shop("signal", "shop:app", "--json", stdin=lines)
    ids = json.loads(ran.out)["stored"]
    assert ids[0] == "a"
    events, _ = stored(shop)
    assert {each["id"]: each["type"] for each in events} == {"a": "OrderPlaced", ids[1]: "cli.cancelled"}


def test_a_wrong_line_is_told_with_its_path_and_what_is_stored(shop):
    lines = '{"order_id": "o-1"}\n{"order_id": 2}\n{"order_id": "o-3"}\n'
    ran = shop("signal", "shop:app", "OrderPlaced", stdin=lines)
    assert ran.code == 1
    assert "line 2" in ran.err
    assert "$.order_id" in ran.err
    assert "1 events are stored" in ran.err
    assert len(stored(shop)[0]) == 1


def test_wrong_lines_may_be_skipped(shop):
    lines = '{"order_id": "o-1"}\nnonsense\n{"order_id": "o-3"}\n'
    ran = shop("signal", "shop:app", "OrderPlaced", "--skip-invalid", stdin=lines)
    assert ran.code == 1
    assert "skipped: line 2" in ran.err
    assert len(stored(shop)[0]) == 2


LARGE = '{"order_id": "%s"}' % ("x" * 1_100_000)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (LARGE.encode(), "are too many"),
        ('{"order_id": "Zo\xeb"}'.encode("latin-1"), "utf-8"),
        (b'{"order_id": 3}', "$.order_id"),
    ],
    ids=["too large", "not UTF-8", "of another type"],
)
def test_any_wrong_line_is_named_and_may_be_skipped(shop, wrong, text):
    lines = b"".join(b'{"order_id": "o-%d"}\n' % n for n in range(700))
    given = lines + wrong + b"\n" + lines
    ran = shop("signal", "shop:app", "OrderPlaced", stdin=given)
    assert ran.code == 1
    assert "line 701: " in ran.err
    assert text in ran.err
    assert "700 events are stored" in ran.err
    assert len(ran.out.split()) == 700
    ran = shop("signal", "shop:app", "OrderPlaced", "--skip-invalid", stdin=given)
    assert (ran.code, len(ran.out.split())) == (1, 1400)
    ran = shop("signal", "shop:app", "OrderPlaced", "--dry-run", stdin=given)
    assert (ran.code, ran.out) == (1, "")


def test_an_id_that_cannot_be_one_is_named_and_nothing_behind_it_is_stored(shop):
    lines = "".join(
        json.dumps({"type": "OrderPlaced", "data": {"order_id": "o"}, "id": "a b" if n == 3 else f"id-{n}"}) + "\n"
        for n in range(6)
    )
    ran = shop("signal", "shop:app", stdin=lines)
    assert ran.code == 1
    assert "line 4: an id is" in ran.err
    assert ran.out.split() == ["id-0", "id-1", "id-2"]
    assert len(stored(shop)[0]) == 3


MASKED = """
import pydantic

class Masked(pydantic.BaseModel):
    note: str = pydantic.Field(default="", exclude=True)
"""


def test_what_only_the_app_refuses_is_named_by_its_line_too(shop):
    shop.write("shop.py", MAIN + MASKED)
    lines = '{}\n{}\n{"note": "x"}\n{}\n'
    ran = shop("signal", "shop:app", "shop:Masked", stdin=lines)
    assert ran.code == 1
    assert "line 3: " in ran.err
    assert "exclude=True" in ran.err
    assert "3 events are stored" in ran.err
    ran = shop("signal", "shop:app", "shop:Masked", "--skip-invalid", stdin=lines)
    assert (ran.code, len(ran.out.split())) == (1, 3)


def test_a_mark_at_the_beginning_of_a_file_is_no_mistake(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", stdin=b'\xef\xbb\xbf{"order_id": "o-1"}\n')
    assert (ran.code, len(ran.out.split())) == (0, 1)


def test_lines_are_signaled_as_they_come_and_the_first_interrupt_ends_it(shop):
    command = [sys.executable, "-m", "dawdle", "signal", "shop:app", "OrderPlaced"]
    process = subprocess.Popen(
        command, cwd=shop.where, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        process.stdin.write(b'{"order_id": "o-1"}\n')
        process.stdin.flush()
        assert process.stdout.readline().strip()  # its id, although the pipe stays open
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert b"Traceback" not in said
    assert len(stored(shop)[0]) == 1


def test_a_dry_run_stores_nothing(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}', "--dry-run")
    assert (ran.code, ran.out) == (0, "1 valid, none stored\n")
    assert stored(shop)[0] == []


@pytest.mark.parametrize(
    ("args", "text", "code"),
    [
        (("OrderPlacd", "{}"), "did you mean OrderPlaced", 1),
        (("Undeclared", '{"number": 1}'), "knows no event 'Undeclared'", 1),
        (("shop:Nothing", "{}"), "there is no shop:Nothing", 1),
        (("OrderPlaced", '{"order_id": "a"'), "OrderPlaced", 1),
        (("OrderPlaced", "{}"), "missing required field `order_id`", 1),
        (("OrderPlaced", "{}", "--delay", "soon"), "5m, 1h30m", 2),
        (("OrderPlaced", "{}", "--header", "tenant"), "--header name=text", 2),
        (("OrderPlaced", "--id", "a"), "--id names one event", 2),
        (("OrderPlaced", '{"order_id": "a"}', "--queue", "vidoe"), "there is no queue 'vidoe'", 1),
        (("OrderPlaced",), "standard input has no event", 1),
    ],
)
def test_a_mistake_is_told_and_nothing_is_stored(shop, args, text, code):
    ran = shop("signal", "shop:app", *args)
    assert ran.code == code
    assert text in ran.err
    assert stored(shop)[0] == []


def test_a_class_that_the_app_does_not_know_is_named_by_its_module(shop):
    assert shop("signal", "shop:app", "shop:Undeclared", '{"number": 1}').code == 0
    assert stored(shop)[0][0]["type"] == "Undeclared"


def test_a_queue_in_memory_is_refused(cli):
    cli.write("shop.py", MAIN.replace('SQLite("app.db"), ', ""))
    ran = cli("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}')
    assert ran.code == 1
    assert "DAWDLE_SQLITE_PATH" in ran.err


def test_without_data_a_terminal_is_told_what_to_give(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", terminal=80)
    assert ran.code == 2
    assert "a line of JSON for each event" in ran.err


def test_the_app_that_is_asked_does_not_run_its_handlers(shop):
    shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}')
    assert stored(shop)[1].in_flight == 1  # by this look, and not by the command


def test_a_class_may_be_named_first_where_pyproject_names_the_app(shop):
    shop.write("pyproject.toml", '[tool.dawdle]\napp = "shop:app"\n')
    ran = shop("signal", "shop:Undeclared", '{"number": 1}')
    assert ran.code == 0, ran.err
    assert stored(shop)[0][0]["type"] == "Undeclared"


def test_a_file_that_signal_makes_is_told(shop):
    ran = shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}')
    assert f"there is no file {shop.where / 'app.db'} yet: making it" in ran.err
    assert shop("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}').err == ""
