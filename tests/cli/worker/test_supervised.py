"""A worker of several processes, or one that is watched: what ends is started again, and nothing in flight is lost."""

import os
import shutil
import signal
from pathlib import Path

import psutil
import pytest

import dawdle
from tests.cli.worker.conftest import SHOP, until

pytestmark = [pytest.mark.slow, pytest.mark.once]


def test_processes_are_started_again_replaced_one_after_another_and_end_with_their_supervisor(start, port, tmp_path):
    worker = start("shop:app", "--processes=2", port.option, environment={"TMPDIR": str(tmp_path)})
    port.until_ready()
    first, second = worker.children()
    first.kill()
    worker.until(
        rf"process \d: pid {first.pid} died after [\d.]+ s, it was killed by SIGKILL, as .*: starting another\n"
    )
    port.until_ready()
    before = {each.pid for each in worker.children()}
    assert second.pid in before
    (folder,) = tmp_path.glob("dawdle-*")
    shutil.rmtree(folder)  # as what tidies up /tmp does
    worker.send(signal.SIGHUP)
    until(lambda: before.isdisjoint(each.pid for each in worker.children()))
    port.until_ready()
    seen = port.json("health")["processes"]
    assert {each["pid"] for each in port.json("stats")} == {each["pid"] for each in seen}
    assert (
        'dawdle_slots{messaging_destination_name="default",messaging_system="sqlite",process="2"} 100.0'
        in (port.get("metrics")[1])
    )
    children = worker.children()
    worker.process.kill()
    _, alive = psutil.wait_procs(children, 30)
    assert not alive


def test_a_change_starts_anew_and_what_is_in_flight_is_finished(start, shop):
    shop.write("shop.py", SHOP + "\ndef (\n")
    worker = start("shop:app", "--reload", terminal=True)
    worker.until("SyntaxError")
    worker.until("the app cannot be loaded: waiting for a change of the code")
    shop.write("shop.py", SHOP)
    old = int(worker.until(r"process 1: pid (\d+) is ready")[1])
    shop("signal", "shop:app", "OrderPlaced", '{"seconds": 3}')
    worker.until(f"began in {old}")
    shop.write("shop.py", SHOP.replace("VERSION = 1", "VERSION = 20"))  # another size: the commands here keep bytecode
    new = int(worker.until(r"pid (\d+) is ready after [\d.]+ s, the one before stops")[1])
    shop("signal", "shop:app", "OrderPlaced", "{}")
    worker.until(f"receipt of 20 by {new}")
    worker.until(f"receipt of 1 by {old}")  # it was begun once, and finished where it was begun
    assert worker.text.count("began in") == 2
    shop.write("shop.py", SHOP + "\nimport nothing_of_that_name\n")
    worker.until("ModuleNotFoundError: No module named 'nothing_of_that_name'")
    worker.until("the app cannot be loaded any more: the processes from before work on")
    assert "dawdle/cli" not in worker.text.partition("Traceback")[2]
    shop("signal", "shop:app", "OrderPlaced", "{}")
    worker.until(f"receipt of 20 by {new}", after="work on")
    os.write(worker.terminal, b"\x03")  # ^C
    assert worker.wait() == 0
    assert "second signal" not in worker.text


def test_a_change_right_after_the_start_is_seen_and_so_is_one_of_code_elsewhere(start, shop, tmp_path_factory):
    libs = tmp_path_factory.mktemp("libs")
    (libs / "prices.py").write_text("def (\n")
    shop.write("shop.py", f"import prices\n{SHOP}")
    path = os.pathsep.join([str(libs), str(Path(dawdle.__file__).parents[1])])
    worker = start("shop:app", "--reload", environment={"PYTHONPATH": path})
    worker.until("waiting for a change of the code")
    for tax in (19, 21):
        (libs / "new").write_text(f"TAX = {tax}\n")
        (libs / "new").replace(libs / "prices.py")  # as editors and git write
        worker.until("process 1: pid .* is ready", after="prices.py" if tax == 19 else "is ready")
    shop.write("shop.py", f"import prices\n\n{SHOP}")
    worker.until(r"since this has changed: shop.py")
    worker.until("is ready after .* s, the one before stops", after="changed: shop.py")
    assert worker.end() == 0


def test_code_that_cannot_be_loaded_ends_a_worker_and_is_told_once(start, shop):
    shop.write("shop.py", SHOP + "\nimport nothing_of_that_name\n")
    worker = start("shop:app", "--processes=2")
    assert worker.wait() == 1
    assert worker.text.count("ModuleNotFoundError") == 1
    assert "the app cannot be loaded, so this worker ends" in worker.text


LEAKS = (
    SHOP
    + """
held = []

@dawdle.on_event(name="leak")
async def leak(event: OrderPlaced) -> None:
    held.append(b"x" * 60_000_000)
"""
)


def test_a_process_that_uses_too_much_memory_is_replaced_and_its_events_are_finished(start, shop):
    shop.write("shop.py", LEAKS)
    worker = start("shop:app", "--max-rss=150M")
    old = int(worker.until(r"process 1: pid (\d+) is ready")[1])
    for seconds in (0, 0, 3):
        shop("signal", "shop:app", "OrderPlaced", f'{{"seconds": {seconds}}}')
    worker.until(rf"pid {old} uses \d{{3}} MB, and --max-rss is 150 MB: replacing it")
    worker.until(r"pid \d+ is ready after [\d.]+ s, the one before stops")
    worker.until(f"pid {old} has stopped")
    assert worker.text.count(f"receipt of 1 by {old}") == 3
    assert worker.end() == 0
