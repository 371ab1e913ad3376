"""What `--emit` prints, as far as it can be told without the tools that read it; `nox -s emit` runs those."""

import ast
import json

import pytest

from dawdle.cli.sqs._emit import FORMATS, emit
from dawdle.cli.sqs._emit.iam import ACTIONS, ROLES, Arns, policy
from dawdle.cli.sqs._emit.quoting import hcl_text, logical_id
from tests.cli.sqs.plans import PLANS

HERE = Arns("eu-central-1", "123456789012")


@pytest.mark.parametrize("as_format", FORMATS)
def test_it_is_printed_without_a_call(cli, as_format):
    ran = cli(
        "sqs",
        "create",
        "orders",
        "--emit",
        as_format,
        "--region",
        "eu-central-1",
        "--endpoint-url",
        "http://127.0.0.1:1",
    )
    assert ran.code == 0
    assert ran.out == emit(PLANS["plain"], as_format, arns=Arns("eu-central-1")) + "\n"


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("as_format", ["terraform", "cloudformation", "cdk"])
def test_every_queue_and_value_of_a_plan_is_in_it(name, as_format):
    plan = PLANS[name]
    text = emit(plan, as_format, arns=HERE)
    for queue in plan.queues:
        assert f'"{queue.name}"' in text
        numbers_and_keys = [each for each in queue.attributes.values() if each.isdigit() or each == plan.kms_key]
        assert all(each in text for each in numbers_and_keys)
    assert str(plan.max_receives) in text


@pytest.mark.parametrize("name", PLANS)
def test_the_construct_is_python(name):
    module = ast.parse(emit(PLANS[name], "cdk", arns=HERE))
    (construct,) = [each for each in module.body if isinstance(each, ast.ClassDef)]
    methods = [each.name for each in construct.body if isinstance(each, ast.FunctionDef)]
    assert methods == ["__init__", "environment", *(f"allow_{role}" for role in ROLES)]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_allowed_what_it_does_and_no_more(role):
    plan = PLANS["all"]
    statements = policy(plan, role, HERE)["Statement"]
    allowed = {each["Resource"]: set(each["Action"]) for each in statements if each["Sid"] != "Key"}
    assert allowed == {
        f"arn:aws:sqs:eu-central-1:123456789012:{queue.name}": {
            f"sqs:{action}" for action in ACTIONS[role][queue.purpose]
        }
        for queue in plan.queues
        if queue.purpose in ACTIONS[role]
    }
    assert not any("*" in action for actions in allowed.values() for action in actions)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("plain", None),
        ("AWS's key", None),
        ("all", {"Resource": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}),
        ("own key", {"Resource": "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"}),
        (
            "FIFO",
            {
                "Resource": "arn:aws:kms:eu-central-1:123456789012:key/*",
                "Condition": {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/shop"}},
            },
        ),
    ],
)
def test_a_key_of_ones_own_must_be_allowed_too(name, key):
    statements = policy(PLANS[name], "worker", HERE)["Statement"]
    found = [each for each in statements if each["Sid"] == "Key"]
    general = {"Sid": "Key", "Effect": "Allow", "Action": ("kms:GenerateDataKey", "kms:Decrypt")}
    assert found == ([] if key is None else [{**general, **key}])


def test_one_role_is_a_document_that_can_be_attached(cli):
    ran = cli(
        "sqs", "create", "orders", "--emit", "iam", "--role", "worker", "--region", "eu-central-1", "--account", "1"
    )
    assert json.loads(ran.out)["Version"] == "2012-10-17"
    assert ran.err == ""
    every = cli("sqs", "create", "orders", "--emit", "iam", "--region", "eu-central-1")
    assert list(json.loads(every.out)) == list(ROLES)
    assert "say --region and --account" in " ".join(every.err.split())


def test_keda_wants_a_region(cli, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    ran = cli("sqs", "create", "orders", "--emit", "keda")
    assert ran.code == 2
    assert "say --region" in ran.err
    ran = cli("sqs", "create", "orders", "--emit", "keda", "--region", "eu-west-1", "--deployment", "shop")
    assert 'awsRegion: "eu-west-1"' in ran.out
    assert ran.out.count('name: "shop"') == 4


def test_names_and_texts_are_written_as_the_formats_want_them():
    assert logical_id("orders-dead.fifo") == "OrdersDeadFifo"
    assert logical_id("9_a") == "Queue9A"
    assert hcl_text('a "${b}" %{c}') == r'"a \"$${b}\" %%{c}"'
