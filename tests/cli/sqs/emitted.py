"""What `--emit` prints, read by the tools that it is for: `nox -s emit`. What cannot be had here is skipped."""

import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import boto3
import pytest
import yaml

from dawdle.backends.sqs import SQS
from dawdle.cli.sqs._doctor.ask import ask
from dawdle.cli.sqs._doctor.rules import findings
from dawdle.cli.sqs._emit import emit
from dawdle.cli.sqs._emit.iam import ACTIONS, ROLES, Arns
from dawdle.cli.sqs._emit.quoting import logical_id
from dawdle.cli.sqs._emit.terraform import NAMES
from tests.cli.sqs.plans import PLANS
from tests.servers import ministack

HERE = Arns("eu-central-1", "123456789012")
PLUGINS = Path("/opt/tf-plugins")
"""Where an offline machine keeps Terraform's providers."""

pytestmark = pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)


def run(*command, cwd):
    done = subprocess.run(
        [str(each) for each in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cfn_lint(path):
    run(Path(sys.executable).with_name("cfn-lint"), "--format", "pretty", path, cwd=path.parent)


# CloudFormation


def test_cfn_lint_accepts_the_template(plan, tmp_path):
    path = tmp_path / "template.yaml"
    path.write_text(emit(plan, "cloudformation", arns=HERE) + "\n")
    cfn_lint(path)


@pytest.fixture(scope="module")
def aws():
    with ministack("sqs,cloudformation") as url:
        yield url


@pytest.mark.anyio
async def test_a_stack_of_it_has_queues_without_a_finding(plan, aws, request, monkeypatch):
    own = {"region_name": "us-east-1", "aws_access_key_id": "t", "aws_secret_access_key": "t"}
    client = boto3.client("cloudformation", endpoint_url=aws, **own)
    name = re.sub(r"\W", "", request.node.callspec.id)
    client.create_stack(StackName=name, TemplateBody=emit(plan, "cloudformation", arns=HERE))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "t")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "t")
    url = f"{aws}/000000000000/"
    delayed = None if plan.delayed is None else url + plan.delayed.name
    queue = SQS(url + plan.events.name, region="us-east-1", endpoint_url=aws, delay_queue_url=delayed)
    facts = await ask(queue)
    allowed = {"sqs.retention"} if plan is PLANS["all"] else set()  # it keeps events for a day
    assert {each.rule for each in findings(facts)} <= allowed
    for made, wanted in zip((facts.events, facts.dead_letters), (plan.events, plan.dead_letters), strict=True):
        assert wanted.attributes.items() <= made.attributes.items()
    for queue in plan.queues:  # the plans share names
        client_of_sqs = boto3.client("sqs", endpoint_url=aws, **own)
        client_of_sqs.delete_queue(QueueUrl=url + queue.name)
        client_of_sqs.close()
    client.close()


# Terraform


@pytest.fixture(scope="module")
def terraform():
    found = shutil.which("terraform") or shutil.which("tofu")
    if found is None:
        pytest.skip("neither terraform nor tofu is here: the text is parsed by python-hcl2 alone")
    return found


@pytest.mark.filterwarnings("default:validated by the AWS provider")
def test_terraform_accepts_it(plan, terraform, tmp_path):
    text = emit(plan, "terraform", arns=HERE) + "\n"
    (tmp_path / "main.tf").write_text(text)
    run(terraform, "fmt", "-check", "-diff", cwd=tmp_path)
    if PLUGINS.is_dir() and (found := sorted(PLUGINS.glob("*/hashicorp/aws/*"))):
        version = tuple(map(int, found[-1].name.split(".")))
        if version < (6, 8):  # it knows no message above 256 KiB; all else is as in later ones
            text = text.replace("1048576", "262144").replace(">= 6.8", ">= 5.0")
            warnings.warn(
                f"validated by the AWS provider {found[-1].name}, with a max_message_size of 256 KiB", stacklevel=1
            )
        (tmp_path / "main.tf").write_text(text)
        init = [terraform, "init", "-input=false", f"-plugin-dir={PLUGINS}"]
    else:
        init = [terraform, "init", "-input=false"]
    done = subprocess.run(init, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        pytest.skip(f"the AWS provider of Terraform cannot be had here: {done.stderr[-300:]}")
    assert json.loads(run(terraform, "validate", "-json", cwd=tmp_path))["diagnostics"] == []


def test_hcl_has_the_queues_of_the_plan(plan):
    hcl2 = pytest.importorskip("hcl2")
    found = hcl2.loads(emit(plan, "terraform", arns=HERE) + "\n")

    def plain(value):
        return json.loads(value) if isinstance(value, str) and value.startswith('"') else value

    queues = [values for each in found["resource"] for named in each.values() for values in named.values()]
    made = {plain(each["name"]): {key: plain(value) for key, value in each.items()} for each in queues}
    assert set(made) == {queue.name for queue in plan.queues}
    for queue in plan.queues:
        for attribute, value in queue.attributes.items():
            assert str(made[queue.name][NAMES[attribute]]).lower() == value.lower()


# CDK


@pytest.fixture(scope="module")
def cdk():
    return pytest.importorskip("aws_cdk")


@pytest.mark.filterwarnings("ignore")
def test_the_construct_synthesizes_the_queues_of_the_plan(plan, cdk, tmp_path):
    names = {}
    exec(compile(emit(plan, "cdk", arns=HERE), "construct", "exec"), names)
    app = cdk.App(outdir=str(tmp_path / "out"))
    stack = cdk.Stack(app, "Shop", env=cdk.Environment(account="123456789012", region="eu-central-1"))
    made = names[f"{logical_id(plan.events.name)}Queues"](stack, "Queues")
    assert set(made.environment) >= {"DAWDLE_BACKEND", "DAWDLE_SQS_QUEUE_URL", "DAWDLE_SQS_DEAD_LETTER_URL"}
    for role in ROLES:
        granted = cdk.aws_iam.Role(stack, role, assumed_by=cdk.aws_iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        getattr(made, f"allow_{role}")(granted)
    template = app.synth().get_stack_by_name("Shop").template
    path = tmp_path / "template.json"
    path.write_text(json.dumps(template))
    cfn_lint(path)
    found = [each["Properties"] for each in template["Resources"].values() if each["Type"] == "AWS::SQS::Queue"]
    queues = {each["QueueName"]: each for each in found}
    assert set(queues) == {queue.name for queue in plan.queues}
    for queue in plan.queues:
        for attribute, value in queue.attributes.items():
            if attribute != "KmsMasterKeyId":  # a reference to the key
                assert str(queues[queue.name][attribute]).lower() == value.lower()
    assert queues[plan.events.name]["RedrivePolicy"]["maxReceiveCount"] == plan.max_receives


# IAM


def test_the_policies_are_sound(plan):
    parliament = pytest.importorskip("parliament")
    documents = json.loads(emit(plan, "iam", arns=HERE))
    for document in documents.values():
        found = parliament.analyze_policy_string(json.dumps(document)).findings
        # Its data lists kms:ResourceAliases for no action. KMS knows it for each that uses a key.
        assert [each for each in found if "kms:ResourceAliases" not in str(each)] == []


def test_every_action_is_one_of_awss_and_of_a_queue(plan):
    actions = pytest.importorskip("policy_sentry.querying.actions")
    known = {each.lower() for each in actions.get_actions_for_service("sqs")}
    used = {f"sqs:{action}" for role in ACTIONS.values() for each in role.values() for action in each}
    assert {each.lower() for each in used} <= known
    on_queues = {each.lower() for each in actions.get_actions_that_support_wildcard_arns_only("sqs")}
    assert not {each.lower() for each in used} & on_queues


# KEDA

SCALER = {
    "activationQueueLength",
    "awsEndpoint",
    "awsRegion",
    "queueLength",
    "queueURL",
    "queueURLFromEnv",
    "scaleOnDelayed",
    "scaleOnInFlight",
}
"""What KEDA's documentation names for the trigger `aws-sqs-queue` (keda.sh, AWS SQS Queue, 2026)."""


def test_the_manifests_have_the_form_of_kedas_resources(plan):
    keda = pytest.importorskip("cloudcoil.models.keda.v1alpha1")  # made from KEDA's own definitions
    documents = list(yaml.safe_load_all(emit(plan, "keda", arns=HERE)))
    assert [each["kind"] for each in documents] == ["TriggerAuthentication", "ScaledObject"]
    for document in documents:
        model = getattr(keda, document["kind"])
        read = model.model_validate(document)
        assert json.loads(read.model_dump_json(by_alias=True, exclude_none=True, exclude_unset=True)) == document
        with pytest.raises(ValueError, match="spec"):
            model.model_validate({**document, "spec": {**document["spec"], WRONG[document["kind"]]: "wrong"}})
    for trigger in documents[1]["spec"]["triggers"]:
        assert trigger["type"] == "aws-sqs-queue"
        assert trigger["metadata"].keys() <= SCALER
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


WRONG = {"TriggerAuthentication": "podIdentity", "ScaledObject": "maxReplicaCount"}
"""A field of each that has another type: a model that accepted it would show nothing."""
