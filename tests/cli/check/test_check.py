"""`dawdle check`: each mistake that is planted is found, and nothing else."""

import json

import pytest

HEAD = """
import dawdle, msgspec, attrs
from dawdle.backends.memory import Memory
from dawdle.backends.sqlite import SQLite

registry = dawdle.Registry()

class OrderPlaced(msgspec.Struct, frozen=True):
    order_id: str

class OrderSent(msgspec.Struct, frozen=True):
    order_id: str

class Base: ...

@attrs.define
class Card:
    _number: str
"""
HANDLER = """
@registry.on_event(name="receipt")
async def receipt(event: OrderPlaced) -> None: ...
"""
APP = "\napp = dawdle.Dawdle(SQLite('app.db'), registry=registry)\n"

PLANTED = {
    "nothing": (HANDLER + APP, set()),
    "no handler": (APP, {"handlers.none"}),
    "it does not listen": (
        HANDLER + "\napp = dawdle.Dawdle(SQLite('app.db'), registry=registry, start_listener=False)",
        {"handlers.idle"},
    ),
    "a queue in memory": (HANDLER + "\napp = dawdle.Dawdle(Memory(), registry=registry)", {"queue.memory"}),
    "a field that cannot travel": (
        HANDLER + "\nregistry.on_event(Card, name='card')(lambda event: None)" + APP,
        {"event.field"},
    ),
    "a handler that another worker must have": (
        HANDLER.replace("@registry", "dawdle.event(handlers=('crm',))(OrderPlaced)\n@registry") + APP,
        {"event.elsewhere"},
    ),
    "a type without a handler": (
        HANDLER + "\nqueue = SQLite('app.db')\napp = dawdle.Dawdle(queues={'default': queue}, registry=registry, "
        "routes={OrderSent: 'default'})",
        {"event.unhandled"},
    ),
    "a handler that no event reaches": (
        HANDLER + "\nregistry.on_event(Base, name='base')(lambda event: None)" + APP,
        {"handler.unreached"},
    ),
    "a handler of another process's queue": (
        HANDLER.replace('"receipt"', '"receipt", queue="video"')
        + "\napp = dawdle.Dawdle(queues={'default': SQLite('app.db'), 'video': SQLite('app.db', name='video')}, "
        "routes={OrderPlaced: 'video'}, listen=('default',), registry=registry)",
        {"handler.elsewhere"},
    ),
    "a limit that is never reached": (
        HANDLER.replace('"receipt"', '"receipt", concurrency=200') + APP,
        {"handler.concurrency"},
    ),
    "a name taken twice": (
        HANDLER + HANDLER.replace("receipt(", "other(").replace("OrderPlaced", "OrderSent") + APP,
        {"code.refused"},
    ),
    "a handler of a queue that is not there": (
        HANDLER.replace('"receipt"', '"receipt", queue="nope"') + APP,
        {"code.refused"},
    ),
    "a handler that no route leads to": (
        HANDLER.replace('"receipt"', '"receipt", queue="video"')
        + "\napp = dawdle.Dawdle(queues={'default': SQLite('app.db'), 'video': SQLite('app.db', name='video')}, "
        "registry=registry)",
        {"code.refused"},
    ),
    "two names of one queue": (
        HANDLER
        + "\napp = dawdle.Dawdle(queues={'default': SQLite('app.db'), 'b': SQLite('app.db')}, registry=registry)",
        {"queue.settings"},
    ),
    "a module that raises": (HANDLER + APP + "\nimport os; os.environ['NO_SUCH_VARIABLE']", {"code.refused"}),
    "a module that is no Python": (HANDLER + APP + "\ndef", {"code.refused"}),
    "a file that is no database": (
        HANDLER + "\nimport pathlib; pathlib.Path('app.db').write_text('x' * 5000)" + APP,
        {"queue.settings"},
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_found_and_nothing_else(cli, name):
    code, rules = PLANTED[name]
    cli.write("shop.py", HEAD + code)
    if "pathlib" not in code:
        (cli.where / "app.db").touch()
    ran = cli("check", "shop:app", "--json")
    findings = json.loads(ran.out)
    assert {each["rule"] for each in findings} == rules, findings
    assert ran.code == any(each["severity"] != "note" for each in findings)
    assert all(each["fix"] and each["why"] for each in findings)


def test_a_file_that_is_not_there_is_a_note_and_is_not_made(cli):
    cli.write("shop.py", HEAD + HANDLER + APP)
    ran = cli("check", "shop:app", "--json")
    assert ran.code == 0
    assert [each["rule"] for each in json.loads(ran.out)] == ["queue.no-file"]
    assert not list(cli.where.glob("app.db*"))


def test_an_error_of_the_users_code_names_its_line(cli):
    cli.write("shop.py", HEAD + HANDLER + APP + "\nimport os; os.environ['NO_SUCH_VARIABLE']")
    (found,) = json.loads(cli("check", "shop:app", "--json").out)
    line = (cli.where / "shop.py").read_text().splitlines().index("import os; os.environ['NO_SUCH_VARIABLE']") + 1
    assert found["where"] == f"{cli.where / 'shop.py'}:{line}"
    assert found["what"] == "KeyError: 'NO_SUCH_VARIABLE'"


def test_offline_opens_no_queue(cli):
    cli.write("shop.py", HEAD + HANDLER + APP)
    ran = cli("check", "shop:app", "--offline")
    assert (ran.code, ran.err) == (0, "no findings\n")
    assert not (cli.where / "app.db").exists()


def test_dead_letters_that_wait_are_a_note(cli):
    cli.write("shop.py", HEAD + HANDLER.replace("...", "raise dawdle.Reject('no')") + APP)
    assert cli("signal", "shop:app", "OrderPlaced", '{"order_id": "o-1"}').code == 0
    cli.write(
        "work.py",
        "import asyncio, shop\nasync def main():\n async with shop.app: await shop.app.idle()\nasyncio.run(main())",
    )
    import runpy

    runpy.run_path(str(cli.where / "work.py"))
    ran = cli("check", "shop:app", terminal=100)
    assert ran.code == 0
    assert "1 dead letters wait" in ran.out
    assert "1 note" in ran.err
