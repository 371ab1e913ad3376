"""What old workers would read as something else, or not at all, while they run beside the new code."""

import pytest
from pydantic.fields import FieldInfo

from dawdle.cli._findings import exit_code
from tests.cli.schema.shops import rules
from tests.cli.schema.test_renames import between
from tests.cli.schema.test_what_to_write import event

pytestmark = pytest.mark.once

M = "event written.m"


@pytest.mark.parametrize("inside", [False, True])
def test_a_default_that_is_left_out_from_now_on_is_a_warning(inside):
    before = 'class Price(msgspec.Struct):\n    currency: str = "EUR"\n' + event("price: Price")
    after = before.replace("(msgspec.Struct):\n    currency", "(msgspec.Struct, omit_defaults=True):\n    currency")
    if not inside:
        before = event('currency: str = "EUR"')
        after = event('currency: str = "EUR"', base="msgspec.Struct, omit_defaults=True")
    assert rules(between(before, after)) == []
    found = between(before, after.replace("EUR", "USD"))
    (deploy,) = [each for each in found if each.severity != "note"]
    assert (deploy.severity, deploy.rule) == ("warning", "schema.deploy.default-changed")
    assert exit_code(found) == 1
    assert "as 'EUR'" in deploy.why
    assert "dead-letter" not in deploy.why
    assert "do not signal such values" not in deploy.fix
    assert [each.severity for each in between(before, after.replace("EUR", "USD"), deploy=False)] in ([], ["note"])


def model(*fields):
    return event("id: int", *fields, base="pydantic.BaseModel")


def test_a_field_that_a_model_does_not_write_any_more_is_gone_for_old_workers():
    found = between(model("total: int"), model("total: int = pydantic.Field(0, exclude=True)"))
    assert rules(found) == [("warning", "deploy.field-removed", M)]
    assert between(model("total: int"), model("total: int = pydantic.Field(0, exclude=True)"), deploy=False) == []


def test_a_field_that_a_model_did_not_write_is_missing_in_the_queue():
    found = between(model("total: int = pydantic.Field(0, exclude=True)"), model("total: int"))
    assert rules(found) == [("error", "field-added", M)]


def test_a_field_that_is_not_written_fits_itself_and_is_no_field_of_another_name():
    unwritten = model("total: int = pydantic.Field(0, exclude=True)")
    assert between(unwritten, unwritten) == []
    assert between(unwritten, unwritten.replace("total", "amount")) == []
    assert between(unwritten, model()) == []
    forbids = model().replace("pydantic.BaseModel", 'pydantic.BaseModel, extra="forbid"')
    assert between(unwritten, forbids, deploy=False) == []


def test_a_field_that_is_not_written_within_a_list_is_found():
    line = "class Line(pydantic.BaseModel):\n    n: int{}\n"
    before, after = (
        line.format(each) + event("lines: list[Line]") for each in ("", " = pydantic.Field(0, exclude=True)")
    )
    assert rules(between(before, after)) == [("warning", "deploy.field-removed", M)]


@pytest.mark.skipif("exclude_if" not in FieldInfo.__slots__, reason="pydantic 2.12")
def test_a_field_that_a_model_does_not_always_write_may_be_left_out():
    sometimes = model("total: int = pydantic.Field(0, exclude_if=lambda value: value == 0)")
    assert rules(between(sometimes, model("total: int"))) == [("error", "field-added", M)]
    assert rules(between(model("total: int"), sometimes)) == [("warning", "deploy.field-removed", M)]
