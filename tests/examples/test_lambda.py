"""The function of `examples/lambda` runs without AWS, as its `local.py` says, and its template says what it needs."""

import subprocess
import sys

import pytest
from tests.examples.test_examples import EXAMPLES

pytestmark = [pytest.mark.once, pytest.mark.slow]


def test_the_function_retries_the_charge_and_not_the_receipt():
    command = [sys.executable, "-W", "error", "local.py"]
    done = subprocess.run(command, cwd=EXAMPLES / "lambda", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["receipt for o-1", "charged 30 for o-1, attempt 3"]


def test_the_template_has_what_a_function_needs():
    template = (EXAMPLES / "lambda" / "template.yaml").read_text("utf-8")
    for needed in ("ReportBatchItemFailures", "sqs:ChangeMessageVisibility", "lambda:ListEventSourceMappings"):
        assert needed in template
