"""`dawdle schema snapshot` and `dawdle schema check`: the file, the exit codes, and what is said where."""

import json
import sys

import pytest

from dawdle.cli.schema._file import FORMAT
from tests.cli.schema.shops import BEFORE, changed

FILE = "dawdle-schema.json"


@pytest.fixture
def shop(cli):
    cli.write("shop.py", BEFORE)
    return cli


def change(shop, *changes):
    """Change the source, and forget the module, as the next process does."""
    sys.modules.pop("shop", None)
    shop.write("shop.py", changed(*changes))


def test_the_file_is_written_to_be_read_and_is_the_same_each_time(shop):
    ran = shop("schema", "snapshot", "shop:app")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(f"wrote {FILE}: ")
    assert ran.err.endswith("2 handlers, 1 function\n")
    text = (shop.where / FILE).read_text()
    assert shop("schema", "snapshot", "shop:app", "--file", "-").out == text
    found = json.loads(text)
    assert found["format"] == FORMAT
    assert found["events"]["orders.placed"] == {
        "style": "struct",
        "fields": {
            "orderId": {"type": "str", "attribute": "order_id"},
            "lines": {"type": "list[shop.Line]"},
            "colour": {"type": "shop.Colour"},
            "paid": {"type": "shop.Card | shop.Cash"},
            "total": {"type": "int", "default": "0"},
            "note": {"type": "str | None", "default": "None"},
        },
        "type": "shop.OrderPlaced",
        "aliases": ["OrderPlaced"],
    }
    assert found["events"]["orders.shipped"]["upcasters"] == [1, 2]
    assert found["types"]["shop.Colour"] == {"style": "enum", "values": ["blue", "red"]}
    assert found["handlers"]["mail.send_receipt"] == {
        "events": ["orders.cancelled", "orders.placed"],
        "aliases": ["send_receipt"],
    }
    assert found["functions"]["images.resize"] == {
        "parameters": {"path": {"type": "str"}, "width": {"type": "int", "default": "…", "optional": True}},
        "aliases": ["resize"],
    }
    assert list(found["events"]) == sorted(found["events"])
    assert text.endswith("}\n")


def test_a_change_that_breaks_is_one_and_says_what_to_do_and_one_that_does_not_is_zero(shop):
    shop("schema", "snapshot", "shop:app")
    ran = shop("schema", "check", "shop:app")
    assert (ran.code, ran.err) == (0, f"{FILE}: no findings; the file is up to date\n")
    change(shop, 'name="stock.update"', 'name="stock.count"')
    ran = shop("schema", "check", "shop:app")
    assert ran.code == 1
    assert ran.rows[0] == ["SEVERITY", "RULE", "WHERE", "WHAT", "WHY", "FIX"]
    assert ran.rows[1][:4] == ["error", "schema.handler-removed", "handler stock.update", "the handler is gone"]
    assert 'if it is stock.count now: @dawdle.on_event(…, aliases=("stock.update",))' in ran.rows[1][5]
    assert "1 error; it would break messages" in ran.err
    (found,) = json.loads(shop("schema", "check", "shop:app", "--json").out)
    assert found["rule"] == "schema.handler-removed"
    change(shop, 'name="stock.update"', 'name="stock.count", aliases=("stock.update",)')
    ran = shop("schema", "check", "shop:app")
    assert ran.code == 0
    assert "nothing breaks; commit the new file: dawdle schema snapshot" in ran.err


def test_update_writes_the_file_only_if_nothing_breaks(shop):
    shop("schema", "snapshot", "shop:app")
    before = (shop.where / FILE).read_text()
    change(shop, "    total: int = 0\n", "    total: str = ''\n")
    ran = shop("schema", "check", "shop:app", "--update")
    assert ran.code == 1
    assert "`dawdle schema snapshot` accepts them" in ran.err
    assert (shop.where / FILE).read_text() == before
    change(shop, "    total: int = 0\n", "    total: int = 0\n    currency: str = 'EUR'\n")
    ran = shop("schema", "check", "shop:app", "--update")
    assert (ran.code, "wrote the file anew" in ran.err) == (0, True)
    assert "currency" in (shop.where / FILE).read_text()
    assert "up to date" in shop("schema", "check", "shop:app").err


def test_a_warning_fails_too_unless_the_old_workers_are_stopped(shop):
    shop("schema", "snapshot", "shop:app")
    change(shop, "    parcels: int\n", "")
    ran = shop("schema", "check", "shop:app")
    assert (ran.code, ran.rows[1][1]) == (1, "schema.deploy.field-removed")
    assert "old workers leave newer versions to new workers" in ran.rows[1][5]
    assert shop("schema", "check", "shop:app", "--stopped").code == 0


def test_the_file_of_another_branch_comes_by_standard_input(shop):
    text = shop("schema", "snapshot", "shop:app", "--file", "-").out
    assert not (shop.where / FILE).exists()
    ran = shop("schema", "check", "shop:app", "--file", "-", stdin=text)
    assert (ran.code, ran.err) == (0, "standard input: no findings; the file is up to date\n")
    ran = shop("schema", "check", "shop:app", "--file", "-", "--update", stdin=text)
    assert ran.code == 2
    assert "--update writes a file" in ran.err


def with_field(kind):
    """A file whose only event has one field."""
    events = {"a": {"type": "shop.A", "fields": {"b": {"type": kind}}}}
    return json.dumps({"format": FORMAT, "events": events, "types": {}, "handlers": {}, "functions": {}})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, f"there is no {FILE} here"),
        ("", "it is no file of `dawdle schema snapshot`"),
        ("[]", "it is no file of `dawdle schema snapshot`"),
        ('{"format": 1}', "Object missing required field `events`"),
        (f'{{"format": {FORMAT + 1}}}', f"it has format {FORMAT + 1}, and this dawdle knows {FORMAT}"),
        (with_field("lst[int]"), "'lst' holds nothing"),
        (with_field("list[shop.Line]"), "it has no type 'shop.Line', to which 'list[shop.Line]' refers"),
        (with_field("int +"), "'int +' is no type"),
        (with_field("Literal[open]"), "'Literal' holds nothing"),
    ],
)
def test_a_file_that_cannot_be_used_is_told(shop, text, said):
    if text is not None:
        shop.write(FILE, text)
    ran = shop("schema", "check", "shop:app")
    assert (ran.code, ran.out) == (1, "")
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_a_type_that_nothing_reads_is_in_the_file_by_its_name_and_told(shop):
    change(shop, "    price: Annotated[int", "    price: Annotated['Fraction'")
    ran = shop("schema", "snapshot", "shop:app")
    assert ran.code == 0
    assert "warning: no event prices.set can be read" in ran.err
    assert json.loads((shop.where / FILE).read_text())["events"]["prices.set"] == {
        "style": "struct",
        "unreadable": True,
        "type": "shop.PriceSet",
    }


def test_a_directory_and_a_place_that_cannot_be_written_are_told(shop):
    (shop.where / "there").mkdir()
    for ran in (
        shop("schema", "check", "shop:app", "--file", "there"),
        shop("schema", "snapshot", "shop:app", "--file", "there"),
        shop("schema", "snapshot", "shop:app", "--file", "nowhere/at/all.json"),
    ):
        assert ran.code == 1
        assert ran.err.startswith("error: cannot ")


def test_in_a_narrow_terminal_a_finding_is_whole(shop):
    shop("schema", "snapshot", "shop:app")
    change(shop, "    parcels: int\n", "    parcels: int\n    weight: float\n")
    ran = shop("schema", "check", "shop:app", terminal=50)
    assert ran.code == 1
    assert "give 'weight' a default; or @dawdle.event(\"orders.shipped\", version=4" in ran.out


def test_both_need_an_app_and_explain_themselves(cli):
    for command in ("snapshot", "check"):
        ran = cli("schema", command)
        assert ran.code == 2
        assert "Name the app" in ran.err
        shown = cli("schema", command, "--help", terminal=80)
        assert len(shown.out.splitlines()) <= 30
