"""`dawdle handlers` and `dawdle events`."""

import json

import pytest

from tests.cli.shop import MAIN


@pytest.fixture
def shop(cli):
    cli.write("shop.py", MAIN)
    return cli


def test_handlers_and_functions_are_listed_with_their_options(shop):
    ran = shop("handlers", "shop:app")
    assert ran.code == 0
    head, receipt, audit, resize = ran.rows
    assert head == ["HANDLER", "EVENTS", "QUEUE", "ATTEMPTS", "TIMEOUT", "AT ONCE", "WHERE"]
    assert receipt == ["send_receipt", "OrderPlaced", "", "12", "30 s", "4", "shop.py:18"]
    assert audit[:2] == ["audit", "every event, not cli.cancelled"]
    assert resize[:2] == ["resize", "calls (path: str, width: int = …)"]
    assert not (shop.where / "app.db").exists()


def test_events_are_listed_with_fields_handlers_and_queues(shop):
    rows = {row[0]: row for row in shop("events", "shop:app").rows}
    assert rows["OrderPlaced"][:4] == [
        "OrderPlaced",
        "order_id: str, total: int = 0",
        "send_receipt, audit",
        "default",
    ]
    assert rows["cli.cancelled"][2:5] == ["crm*", "default", "cancelled"]


VERSIONS = """
import msgspec

import dawdle
from dawdle.backends.memory import Memory


@dawdle.event("listing.versions", version=3, upcasters={1: lambda data: data, 2: lambda data: data})
class Placed(msgspec.Struct): ...


@dawdle.event("listing.forgotten", version=2, upcasters={})
class Sent(msgspec.Struct): ...


@dawdle.event("listing.first")
class Paid(msgspec.Struct): ...


app = dawdle.Dawdle(Memory(), registry=dawdle.Registry())
"""


def test_the_version_of_a_type_is_listed_with_those_that_it_reads(cli):
    cli.write("shop.py", VERSIONS)
    head, *rows = cli("events", "shop:app").rows
    version = {row[0]: row[head.index("VERSION")] for row in rows}
    assert version["listing.versions"] == "3, reads 1, 2"
    assert (version["listing.forgotten"], version["listing.first"]) == ("2", "")
    types = {each["name"]: each for each in json.loads(cli("events", "shop:app", "--json").out)}
    assert (types["listing.versions"]["version"], types["listing.versions"]["upcasters"]) == (3, [1, 2])


def test_a_narrow_terminal_still_has_names_and_what_runs_them(shop):
    ran = shop("handlers", "shop:app", terminal=50)
    assert max(len(line) for line in ran.out.splitlines()) <= 50
    assert "send_receipt" in ran.out
    assert "OrderPlaced" in ran.out
    assert "too narrow" in ran.err


def test_both_are_json_when_asked(shop):
    found = json.loads(shop("handlers", "shop:app", "--json").out)
    assert [each["name"] for each in found["handlers"]] == ["send_receipt", "audit"]
    assert found["functions"][0]["parameters"][1]["annotation"] == "int"
    types = {each["name"]: each for each in json.loads(shop("events", "shop:app", "--json").out)}
    assert types["OrderPlaced"]["fields"][0]["required"]


def test_an_app_without_handlers_says_what_is_probably_missing(cli):
    cli.write("shop.py", "import dawdle\napp = dawdle.Dawdle(registry=dawdle.Registry())")
    ran = cli("handlers", "shop:app")
    assert ran.code == 0
    assert "dawdle.discover" in ran.err
