"""`dawdle dead` lists, shows, redrives and purges what is meant, in a terminal and in a pipe, and asks before."""

import json

import pytest

from tests.cli.dead.shop import SHOP, leave_letters, stored


@pytest.fixture
def shop(cli):
    cli.write("shop.py", SHOP)
    return cli


@pytest.fixture
def ids(shop):
    """Four letters: three of orders, of which one order has two, and one of a cancellation."""
    return leave_letters(
        ("OrderPlaced", "o-1"), ("OrderPlaced", "o-7", 7), ("OrderCancelled", "o-9"), headers={"tenant": "t-1"}
    )


def test_a_pipe_gets_lines_with_tabs_and_nothing_is_cut(shop, ids):
    ran = shop("dead", "list", "shop:app")
    assert ran.rows[0] == ["ID", "AGE", "TYPE", "HANDLER", "ATTEMPTS", "REASON", "QUEUE"]
    found = [[row[0], *row[2:]] for row in ran.rows[1:]]
    parcel = ["OrderPlaced", "book_parcel", "1", "Reject: the carrier does not answer", "default"]
    assert sorted(found) == sorted(
        [
            [ids[0], *parcel],
            [ids[1], *parcel],
            [ids[1], "OrderPlaced", "send_receipt", "1", "Reject: no such address: [red] 7, Mill Lane", "default"],
            [ids[2], "OrderCancelled", "refund", "1", "Reject: the bank is closed", "default"],
        ]
    )
    assert (ran.code, ran.err) == (0, "")


def test_a_narrow_terminal_loses_columns_by_their_rank(shop, ids):
    lost_first = ["QUEUE", "ATTEMPTS", "TYPE", "HANDLER"]
    for columns, count in ((120, 0), (80, 1), (70, 2), (60, 3), (50, 4)):
        ran = shop("dead", "list", "shop:app", terminal=columns)
        lost = lost_first[:count]
        assert ran.out.splitlines()[0].split() == [
            each for each in ("ID", "AGE", "TYPE", "HANDLER", "ATTEMPTS", "REASON", "QUEUE") if each not in lost
        ]
        assert all(len(line.rstrip()) <= columns for line in ran.out.splitlines())
        assert all(name in ran.err for name in lost)
        assert ids[2][:8] in ran.out
        assert ids[2] not in ran.out


def test_json_has_all_that_is_known_of_a_letter(shop, ids):
    ran = shop("dead", "list", "shop:app", "--handler", "send_receipt", "--json")
    (letter,) = json.loads(ran.out)
    assert (letter["event_id"], letter["event_type"], letter["handler"]) == (ids[1], "OrderPlaced", "send_receipt")
    assert letter["error"] == "Reject: no such address:\n[red] 7, Mill Lane"
    assert letter["headers"] == {"tenant": "t-1"}
    assert letter["message"]["data"] == {"order_id": "o-7", "total": 7}
    assert letter["since"] == letter["dead_at"] >= letter["signaled_at"]
    assert letter["origin"].startswith("sqlite:")


CHOICES = (
    ("--type OrderCancelled", ["refund"]),
    ("--type OrderCancelled --type OrderPlaced", ["book_parcel", "book_parcel", "refund", "send_receipt"]),
    ("--reason CARRIER", ["book_parcel", "book_parcel"]),
    ("--reason no*mill", ["send_receipt"]),
    ("--reason no.mill", []),
    ("--older-than 1h", []),
    ("--newer-than 1h --handler refund", ["refund"]),
    ("--queue default --foreign --handler refund", ["refund"]),
)


def test_letters_are_chosen_by_options(shop, ids):
    for options, handlers in CHOICES:
        ran = shop("dead", "list", "--app", "shop:app", *options.split())
        assert sorted(row[3] for row in ran.rows[1:]) == handlers, options


def test_the_newest_come_last_and_a_limit_keeps_them(shop, ids):
    everything = json.loads(shop("dead", "list", "shop:app", "--json").out)
    assert [letter["since"] for letter in everything] == sorted(letter["since"] for letter in everything)
    ran = shop("dead", "list", "shop:app", "--limit", "1")
    assert len(ran.rows) == 2
    assert "the newest 1 of 4 dead letters" in ran.err


def test_where_there_is_none_it_says_where_it_has_looked(shop):
    (shop.where / "shop.db").touch()
    ran = shop("dead", "list", "shop:app")
    assert ran.code == 0
    assert "no dead letters: looked in SQLite(" in ran.err
    assert "shop.db" in ran.err
    assert json.loads(shop("dead", "list", "shop:app", "--json").out) == []


def test_a_wrong_queue_is_told(shop):
    (shop.where / "shop.db").touch()
    ran = shop("dead", "list", "shop:app", "--queue", "defaults")
    assert (ran.code, ran.out) == (1, "")
    assert "did you mean 'default'?" in ran.err


def test_without_an_app_the_queue_is_that_of_the_variables_and_letters_show_their_data(shop, ids, monkeypatch):
    monkeypatch.setenv("DAWDLE_BACKEND", "sqlite")
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", "shop.db")
    ran = shop("dead", "show", ids[2])
    assert '"order_id": "o-9"' in ran.out
    assert f"dawdle dead redrive {ids[2]} --handler refund" in ran.out


def test_letters_in_the_memory_of_another_process_cannot_be_seen(shop):
    ran = shop("dead", "list")
    assert (ran.code, ran.out) == (1, "")
    assert "is in memory" in ran.err
    assert "DAWDLE_SQLITE_PATH" in ran.err


def test_show_has_the_event_the_error_and_what_to_type_next(shop, ids):
    ran = shop("dead", "show", "shop:app", ids[1][:12], "--handler", "send_receipt")
    assert ran.out.startswith(f"OrderPlaced {ids[1]} for send_receipt\n")
    assert "no such address:\n  [red] 7, Mill Lane" in ran.out
    assert "OrderPlaced(order_id='o-7', total=7)" in ran.out
    assert "header tenant  t-1" in ran.out
    assert f"dawdle dead redrive shop:app {ids[1]} --handler send_receipt\n" in ran.out
    assert f"dawdle dead purge shop:app {ids[1]} --handler send_receipt\n" in ran.out


def test_show_has_all_letters_of_an_event(shop, ids):
    assert {letter["handler"] for letter in json.loads(shop("dead", "show", "shop:app", ids[1], "--json").out)} == {
        "book_parcel",
        "send_receipt",
    }
    ran = shop("dead", "show", "shop:app", ids[1], terminal=80)
    assert ran.out.count(f"OrderPlaced {ids[1]}") == 2


def test_an_id_that_no_letter_has_or_several_have_is_told(shop):
    ids = leave_letters(*[("OrderCancelled", f"o-{number}") for number in range(17)])
    shared = next(each[0] for each in ids if [other[0] for other in ids].count(each[0]) > 1)
    for command in ("show", "redrive", "purge"):
        ran = shop("dead", command, "shop:app", shared)
        assert (ran.code, ran.out) == (1, "")
        assert f"events have ids that begin with '{shared}'" in ran.err
        ran = shop("dead", command, "shop:app", "nothing")
        assert ran.code == 1
        assert "no dead letter that is meant has an id that begins with 'nothing'" in ran.err
    assert len(stored()[0]) == 17


def test_one_letter_is_redriven_without_a_question(shop, ids):
    ran = shop("dead", "redrive", "shop:app", ids[1][:12], "--handler", "send_receipt")
    assert (ran.code, ran.out) == (0, "1 dead letter redriven\n")
    letters, waiting = stored()
    assert [(event.event_id, event.handler) for event in waiting] == [(ids[1], "send_receipt")]
    assert sorted(letter.handler for letter in letters) == ["book_parcel", "book_parcel", "refund"]


@pytest.mark.parametrize(("answer", "code", "moved"), [("y\n", 0, 2), ("n\n", 1, 0), ("", 130, 0)])
def test_of_several_letters_a_redrive_asks_first(shop, ids, answer, code, moved):
    ran = shop("dead", "redrive", "shop:app", "--handler", "book_parcel", terminal=100, stdin=answer)
    assert "Redrive 2 dead letters (2 OrderPlaced for book_parcel)? [y/N]" in ran.err
    assert ran.code == code
    assert len(stored()[1]) == moved


def test_a_purge_asks_even_for_one_letter_and_demands_yes_in_a_pipe(shop, ids):
    ran = shop("dead", "purge", "shop:app", ids[2])
    assert ran.code == 2
    assert "Delete 1 dead letter for good (1 OrderCancelled for refund)?" in ran.err
    assert "say --yes" in ran.err
    assert len(stored()[0]) == 4
    ran = shop("dead", "purge", "shop:app", ids[2], "--yes", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"deleted": 1})
    assert len(stored()[0]) == 3


def test_yes_redrives_all_at_once(shop, ids):
    ran = shop("dead", "redrive", "shop:app", "--yes")
    assert (ran.code, ran.out) == (0, "4 dead letters redriven\n")
    letters, waiting = stored()
    assert (letters, len(waiting)) == ([], 4)
    ran = shop("dead", "redrive", "shop:app", "--yes")
    assert (ran.code, ran.out) == (0, "0 dead letters redriven\n")
    assert "looked in" in ran.err


def test_a_dry_run_counts_and_changes_nothing(shop, ids):
    for command in ("redrive", "purge"):
        ran = shop("dead", command, "shop:app", "--dry-run")
        first, *others = [[row[0], row[1], row[2], row[5]] for row in ran.rows[1:]]
        assert first == ["2", "OrderPlaced", "book_parcel", "default"]
        assert sorted(others) == [
            ["1", "OrderCancelled", "refund", "default"],
            ["1", "OrderPlaced", "send_receipt", "default"],
        ]
        assert "dry run: 4 dead letters would be" in ran.err
        found = json.loads(shop("dead", command, "shop:app", ids[1], "--dry-run", "--json").out)
        assert found["letters"] == 2
        assert {group["handler"] for group in found["groups"]} == {"book_parcel", "send_receipt"}
    assert len(stored()[0]) == 4


def test_what_is_not_meant_is_not_asked_about_and_how_many_others_there_are_is_said(shop, ids):
    for options in ((), ("--yes",)):
        ran = shop("dead", "purge", "shop:app", "--reason", "unheard", *options)
        assert (ran.code, ran.out) == (0, "0 dead letters deleted\n")
        assert "4 other dead letters in SQLite(" in ran.err
    assert "no such dead letters: 4 other dead letters" in shop("dead", "list", "shop:app", "--reason", "unheard").err
    assert "4 other dead letters in" in shop("dead", "redrive", "shop:app", "--reason", "unheard", "--dry-run").err


SLIPS = (
    ("--handler", "send_recipt", "the handler 'send_recipt': did you mean 'send_receipt'?"),
    ("--handler", "x", "the handler 'x'; known are book_parcel, refund, send_receipt"),
    ("--type", "OrderPlacd", "the type 'OrderPlacd': did you mean 'OrderPlaced'?"),
)
COMMANDS = (("list",), ("list", "--json"), ("redrive",), ("redrive", "--yes"), ("redrive", "--dry-run"), ("purge",))


@pytest.mark.parametrize(("option", "name", "text"), SLIPS)
def test_a_name_that_neither_the_app_nor_a_letter_has_is_a_slip(shop, ids, option, name, text):
    for command in COMMANDS:
        ran = shop("dead", *command, "--app", "shop:app", option, name)
        assert (ran.code, ran.out) == (1, ""), command
        assert f"neither this app nor any dead letter has {text}" in " ".join(ran.err.split())
    assert len(stored()[0]) == 4


def test_a_name_that_the_app_or_a_letter_has_is_no_slip_though_nothing_is_meant(shop, ids):
    shop.write("later.py", SHOP.replace("refund", "pay_back").replace("class OrderCancelled", "class Revoked"))
    shop.write("later.py", (shop.where / "later.py").read_text().replace("event: OrderCancelled", "event: Revoked"))
    for options in (
        ("--handler", "pay_back"),
        ("--handler", "refund", "--older-than", "1d"),
        ("--type", "Revoked"),
        ("--type", "OrderCancelled", "--older-than", "1d"),
        ("--type", "dawdle.undecodable"),
    ):
        ran = shop("dead", "redrive", "later:app", *options, "--yes")
        assert (ran.code, ran.out) == (0, "0 dead letters redriven\n"), options


def test_without_an_app_no_name_is_a_slip(shop, ids, monkeypatch):
    monkeypatch.setenv("DAWDLE_BACKEND", "sqlite")
    monkeypatch.setenv("DAWDLE_SQLITE_PATH", "shop.db")
    ran = shop("dead", "redrive", "--handler", "send_recipt", "--yes")
    assert (ran.code, ran.out) == (0, "0 dead letters redriven\n")
    assert "4 other dead letters in" in ran.err


def test_the_app_may_stand_before_the_subcommand_too(shop, ids):
    assert len(shop("dead", "shop:app", "list").rows) == 5


@pytest.mark.parametrize("command", ["list", "show", "redrive", "purge"])
def test_the_help_fits_one_screen(shop, command):
    ran = shop("dead", command, "--help", terminal=100)
    assert ran.code == 0
    assert len(ran.out.splitlines()) <= 40


def test_a_purge_deletes_no_letter_that_was_not_counted_when_it_asked(shop, ids, monkeypatch):
    def answer(question, *, yes):
        assert "Delete 4 dead letters for good" in question
        leave_letters(("OrderCancelled", "o-10"))

    monkeypatch.setattr("dawdle.cli.dead._acting.confirm", answer)
    ran = shop("dead", "purge", "shop:app")
    assert (ran.code, ran.out) == (0, "4 dead letters deleted\n")
    assert [letter.event.order_id for letter in stored()[0]] == ["o-10"]
