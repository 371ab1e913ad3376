"""A worker of one process is that process: it runs the app, and what started it sees its end."""

import signal
import time

import pytest

from tests.cli.worker.conftest import SHOP, until

pytestmark = [pytest.mark.slow, pytest.mark.once]


def test_a_worker_says_what_it_is_answers_on_its_port_starts_anew_by_sighup_and_stops(start, port, shop):
    worker = start("shop:app", port.option, "--concurrency=7")
    port.until_ready()
    head, *lines = worker.text.splitlines()
    assert head.startswith("dawdle 0.")
    assert f"worker of shop:app, pid {worker.process.pid}, Python 3." in head
    assert any(line.split()[:2] == ["queues", "default"] and "7 messages at once" in line for line in lines)
    assert "handlers   receipt  OrderPlaced  12 attempts, 30 s each, 4 at once" in lines
    assert "settings   concurrency  7" in lines
    assert [name for name in ("live", "ready", "health") if port.get(name)[0] != 200] == []
    (figures,) = port.json("stats")
    assert (figures["pid"], figures["app"]) == (worker.process.pid, "shop:app")
    shop("signal", "shop:app", "OrderPlaced", "{}")
    worker.until("receipt of 1")
    until(lambda: port.json("stats")[0]["handlers"][0]["runs"] == 1)
    metrics = port.get("metrics")[1]
    assert "messaging_process_duration_seconds_count{" in metrics
    assert "process_resident_memory_bytes" in metrics
    shop.write("shop.py", SHOP.replace("VERSION = 1", "VERSION = 20"))  # another size, since the second is the same
    worker.send(signal.SIGHUP)
    worker.until("dawdle started", after="SIGHUP: stopping, to start anew")
    port.until_ready()
    shop("signal", "shop:app", "OrderPlaced", "{}")
    worker.until(f"receipt of 20 by {worker.process.pid}")
    assert worker.end() == 0
    assert "asked to stop: " in worker.text


def test_an_app_that_fails_ends_the_process_with_its_error(start, shop):
    shop.write("shop.py", SHOP.replace('SQLite("app.db")', 'SQLite("missing/app.db")'))
    worker = start("shop:app")
    assert worker.wait() == 1
    assert "error: " in worker.text
    assert "missing/app.db" in worker.text


def test_code_that_cannot_be_loaded_is_told_by_its_own_lines(shop):
    shop.write("shop.py", SHOP + "\nimport nothing_of_that_name\n")
    ran = shop("worker", "shop:app")
    assert ran.code == 1
    lines = ran.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "shop.py" in lines[1]
    assert lines[-1] == "ModuleNotFoundError: No module named 'nothing_of_that_name'"


def test_a_closed_terminal_ends_a_worker_and_sighup_does_not(start):
    worker = start("shop:app", "--uvloop", terminal=True)
    worker.until("dawdle started")
    worker.send(signal.SIGHUP)
    worker.until("dawdle started", after="SIGHUP: stopping, to start anew")
    assert "second signal" not in worker.text
    worker.close_terminal()
    assert worker.wait() == 0


def test_sighup_never_kills_and_sigterm_after_it_lets_handlers_finish(start, shop):
    shop.write("shop.py", "print('loading', flush=True)\n" + SHOP)
    worker = start("shop:app")
    worker.until("loading")
    worker.send(signal.SIGHUP)  # there is no event loop yet
    worker.until("SIGHUP: stopping, to start anew")
    while worker.text.count("loading") == 1:  # while the loop is closed and the process is replaced
        worker.send(signal.SIGHUP)
        assert worker.process.poll() is None
        time.sleep(0.002)
    until(lambda: worker.text.count("dawdle started") > worker.text.count("SIGHUP: "))
    shop("signal", "shop:app", "OrderPlaced", '{"seconds": 0.3}')
    worker.until("began in")
    worker.send(signal.SIGHUP)
    worker.until("SIGHUP: stopping, to start anew", after="began in")
    assert worker.end() == 0
    after = worker.text.partition("began in")[2]
    assert "receipt of 1" in after
    assert "this worker does not start anew" in after
    assert "second signal" not in after
    assert "loading" not in after


def test_code_that_ends_the_process_is_told(shop):
    shop.write("shop.py", SHOP + "\nraise SystemExit(0)\n")
    ran = shop("worker", "shop:app")
    assert (ran.code, ran.err) == (1, "error: the code of the app has ended the process: 0\n")
