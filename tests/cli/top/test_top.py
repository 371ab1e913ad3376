import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

from dawdle.backends.sqlite import SQLite
from tests.cli.top.ports import health_port
from tests.cli.top.snapshots import handler, queue, worker
from tests.ports import free_port

APP = """
import dawdle
from dawdle.backends.sqlite import SQLite

app = dawdle.Dawdle(SQLite("shop.db"), registry=dawdle.Registry())
"""


@pytest.fixture
def port():
    with health_port() as port:
        port.says(worker(pid=4321, handlers=(handler(recent_runs=50),), queues=(queue(system="sqlite", place=""),)))
        yield port


@pytest.fixture
def shop(cli, tmp_path):
    cli.write("shop.py", APP)
    make(tmp_path / "shop.db")
    return cli


def make(path):
    async def open_it():
        async with SQLite(path):
            pass

    asyncio.run(open_it())


def test_in_a_pipe_it_prints_one_picture_and_ends(shop, port):
    ran = shop("top", "shop:app", "--workers", port.url)
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    lines = ran.out.splitlines()
    assert lines[0].startswith("dawdle top  shop:app  1 worker  ")
    assert any(line.split()[:4] == ["default", "0", "0", "0"] for line in lines)
    assert any(line.startswith("receipt") and "5.0" in line for line in lines)
    assert any("4321" in line for line in lines)


def test_in_a_pipe_no_line_is_cut(shop, port):
    out = shop("top", "shop:app", "--workers", port.url).out
    assert "EMPTY/MIN" in out
    assert "more lines" not in out


def test_once_prints_a_picture_that_fits_into_the_terminal(shop, port):
    ran = shop("top", "shop:app", "--once", "--workers", port.url, terminal=60)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 60
    assert "EMPTY/MIN" not in ran.out


def test_json_once_is_one_line(shop, port):
    ran = shop("top", "shop:app", "--json", "--once", "--workers", port.url)
    (line,) = ran.out.splitlines()
    read = json.loads(line)
    assert (read["app"], read["queues"][0]["waiting"], read["handlers"][0]["rate"]) == ("shop:app", 0, 5.0)


def test_without_health_ports_it_says_what_cannot_be_known_and_what_to_do(shop):
    ran = shop("top", "shop:app", "--once")
    assert ran.code == 0
    assert "handlers, rates and costs are known to the workers alone" in ran.out
    assert "--workers http://host:8080" in ran.out
    assert "HANDLER" not in ran.out


def test_the_queue_of_the_environment_needs_no_app(cli, monkeypatch, tmp_path):
    make(tmp_path / "shop.db")
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", str(tmp_path / "shop.db"))
    ran = cli("top", "--json", "--once")
    assert json.loads(ran.out)["queues"][0]["system"] == "sqlite"


def test_workers_alone_can_be_watched(cli, port):
    ran = cli("top", "--once", "--workers", port.url)
    assert ran.code == 0
    assert "receipt" in ran.out


def test_a_queue_in_memory_is_told_with_what_to_do(cli):
    ran = cli("top", "--once")
    assert (ran.code, ran.out) == (1, "")
    assert "in memory" in ran.err
    assert "--workers http://host:8080" in ran.err


def test_if_nothing_answers_the_exit_code_says_so(cli):
    ran = cli("top", "--once", "--workers", f"http://127.0.0.1:{free_port()}")
    assert ran.code == 1
    assert "does not answer: connection refused" in ran.out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--workers", "ftp://host"], "write http://host:8080"),
        (["--workers", "http://me:secret@host:8080"], "no name and password"),
        (["--interval", "0"], "0.05"),
        (["--wrokers", "x"], "--workers"),
    ],
)
def test_a_mistake_in_the_command_line_is_told(cli, args, text):
    ran = cli("top", *args)
    assert ran.code == 2
    assert text in ran.err


def test_a_password_in_the_url_of_a_worker_is_not_printed(cli):
    ran = cli("top", "--workers", "http://me:secret@host:8080")
    assert "secret" not in ran.out + ran.err


def test_an_app_that_raises_when_it_is_imported_is_told_without_the_frames_of_the_command(cli):
    cli.write("shop.py", "def settings():\n    return {}['queue']\n\nsettings()\n")
    ran = cli("top", "shop:app", "--once")
    assert ran.code == 1
    lines = ran.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'queue'"
    assert "shop.py" in lines[1]
    assert len(lines) < 10


def test_an_app_that_ends_the_process_when_it_is_imported_is_told(cli):
    cli.write("shop.py", "import sys; sys.exit(0)")
    ran = cli("top", "shop:app", "--once")
    assert (ran.code, ran.err) == (1, "error: the code of the app has ended the process: 0\n")


def test_a_worker_of_several_processes_is_one_worker(cli, port):
    port.says(worker(pid=1, id="a", handlers=(handler(),)), worker(pid=2, id="b", handlers=(handler(),)))
    ran = cli("top", "--once", "--workers", port.url)
    assert ran.out.startswith("dawdle top  shop:app  1 worker (2 processes)  ")
    assert next(line for line in ran.out.splitlines() if line.startswith("HANDLER")).endswith("PROCESSES")


def test_a_file_that_is_no_database_is_told(shop, tmp_path):
    (tmp_path / "shop.db").write_bytes(b"this is no database" * 100)
    ran = shop("top", "shop:app", "--once")
    assert ran.code == 1
    assert "shop.db" in ran.err


def test_it_changes_nothing_in_the_queue(shop, tmp_path):
    def dump():
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            return list(connection.iterdump())

    shop("top", "shop:app", "--once")
    before = dump()
    shop("top", "shop:app", "--once")
    assert dump() == before


def test_its_help_fits_one_screen(cli):
    ran = cli("top", "--help", terminal=80)
    assert ran.code == 0
    assert len(ran.out.splitlines()) <= 40
    assert "q quits, s sorts, p pauses, ? explains" in " ".join(ran.out.split())
