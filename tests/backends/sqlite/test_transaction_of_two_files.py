"""An event of two queues in the caller's own transaction: both files are the transaction's, or nothing is in it."""

import sqlite3

import pytest
from tests.app.events import Placed

from dawdle import Dawdle, Registry
from dawdle.backends.sqlite import SQLite
from dawdle.errors import ConfigurationError

pytestmark = pytest.mark.anyio


async def test_a_queue_in_another_file_is_refused_before_anything_is_in_the_transaction(tmp_path):
    queues = {name: SQLite(tmp_path / f"{name}.db") for name in ("default", "audit")}
    app = Dawdle(queues=queues, routes={Placed: ("default", "audit")}, registry=Registry(), start_listener=False)
    async with app:
        own = sqlite3.connect(tmp_path / "default.db")
        own.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match=r"audit\.db"):
            await app.signal(Placed(), transaction=own)
        own.commit()
        own.close()
        assert (await queues["default"].count()).waiting == 0
        own = sqlite3.connect(tmp_path / "default.db")
        own.execute("BEGIN IMMEDIATE")
        await app.signal(Placed(), queue="default", transaction=own)
        own.commit()
        own.close()
        assert (await queues["default"].count()).waiting == 1


async def test_two_queues_in_one_file_get_it_in_one_transaction(tmp_path):
    path = tmp_path / "shop.db"
    queues = {name: SQLite(path, name=name) for name in ("default", "audit")}
    app = Dawdle(queues=queues, routes={Placed: ("default", "audit")}, registry=Registry(), start_listener=False)
    async with app:
        for end, stored in (("ROLLBACK", 0), ("COMMIT", 1)):
            own = sqlite3.connect(path)
            own.execute("BEGIN IMMEDIATE")
            await app.signal(Placed(), transaction=own)
            own.execute(end)
            own.close()
            assert [(await queue.count()).waiting for queue in queues.values()] == [stored, stored]
