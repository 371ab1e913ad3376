"""The unit of work: what a handler writes and what it signals happen together, or not at all."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dawdle import Dawdle
from dawdle.backends.sqlite import SQLite
from dawdle.hooks import HandlerFinished

pytest.importorskip("sqlalchemy")
pytest.importorskip("aiosqlite")
pytestmark = [pytest.mark.once, pytest.mark.anyio]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def book(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from unit_of_work import app, database

    return app, database


@pytest.mark.slow
def test_each_order_has_one_parcel_and_one_notice_after_roll_backs():
    command = [sys.executable, "-W", "error", "-m", "unit_of_work.demo", "--orders", "30"]
    ended = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    counts = {name: int(number) for name, number in re.findall(r"^(.+?) {2,}(\d+)$", ended.stdout, re.MULTILINE)}
    assert counts == {
        "parcels": 30,
        "notices": 30,
        "of a second attempt": 10,
        "book_parcel done": 30,
        "book_parcel failed": 10,
        "send_notice done": 30,  # 40 would be: an event of a transaction that was rolled back was handled
    }


@pytest.mark.slow
async def test_a_commit_that_fails_stores_no_event_and_is_tried_again(book, tmp_path):
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    app, database = book
    path, runs, all_done = tmp_path / "shop.db", [], asyncio.Event()

    def fail_once(session):
        if not runs:
            raise OSError("the disk is full")

    def watch(moment):
        if isinstance(moment, HandlerFinished):
            runs.append((moment.handler, moment.error))
            if moment.handler == "send_notice":
                all_done.set()

    event.listen(Session, "before_commit", fail_once)
    try:
        async with Dawdle(
            SQLite(path), registry=app.registry, lifespan=lambda _: database.open_database(path), hooks=[watch]
        ) as running:
            await running.signal(app.OrderPlaced("o-1", 1))
            async with asyncio.timeout(60):
                await all_done.wait()
            await running.idle()
    finally:
        event.remove(Session, "before_commit", fail_once)
    assert runs == [("book_parcel", "OSError: the disk is full"), ("book_parcel", None), ("send_notice", None)]
