"""The server as a command, and the clients that people have: boto3, the AWS CLI."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

SERVE = [sys.executable, "-m", "dawdle.testing.sqs"]


class Served:
    def __init__(self, *arguments):
        self.process = subprocess.Popen([*SERVE, *arguments], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        self.banner = "".join(
            iter(
                self.process.stdout.readline,
                "# Stop it with Ctrl-C. Its messages are in memory and end with it.\n",
            )
        )
        self.environment = dict(re.findall(r"^export (\w+)=(.*)$", self.banner, re.MULTILINE))
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_the_environment_and_ends_on_a_signal(number):
    with Served("--queue", "orders", "--queue", "mail.fifo", "--max-receives", "7") as served:
        assert set(served.environment) == {
            "AWS_ENDPOINT_URL_SQS",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_DEFAULT_REGION",
            "AWS_REGION",
            "DAWDLE_BACKEND",
            "DAWDLE_SQS_ENDPOINT_URL",
            "DAWDLE_SQS_REGION",
            "DAWDLE_SQS_QUEUE_URL",
        }
        served.process.send_signal(number)
        assert served.process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--queue", "no good"], ["--queue", "a", "--dead-letter", "b.fifo"]])
def test_what_cannot_be_served_is_said_and_the_exit_status_is_one(arguments):
    done = subprocess.run([*SERVE, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("dawdle.testing.sqs: queue ")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_port_that_is_taken_is_said():
    with Served() as served:
        port = served.environment["AWS_ENDPOINT_URL_SQS"].rpartition(":")[2]
        done = subprocess.run([*SERVE, "--port", port], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)


@pytest.mark.slow
def test_boto3_works_unchanged_by_environment_alone(monkeypatch):
    boto3 = pytest.importorskip("boto3")
    with Served("--queue", "orders", "--dead-letter", "orders-dead") as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        queue = boto3.resource("sqs").get_queue_by_name(QueueName="orders")
        queue.send_messages(Entries=[{"Id": str(n), "MessageBody": str(n)} for n in range(3)])
        messages = queue.receive_messages(MaxNumberOfMessages=10, AttributeNames=["All"])
        assert [message.body for message in messages] == ["0", "1", "2"]
        messages[0].change_visibility(VisibilityTimeout=0)
        queue.delete_messages(Entries=[{"Id": "x", "ReceiptHandle": messages[1].receipt_handle}])
        messages[2].delete()
        queue.load()
        assert queue.attributes["ApproximateNumberOfMessages"] == "1"
        assert json.loads(queue.attributes["RedrivePolicy"])["maxReceiveCount"] == "100"
        queue.meta.client.close()


@pytest.fixture
def aws(venv_of):
    return venv_of("awscli", "DAWDLE_AWSCLI_VENV", "awscli", "aws")


@pytest.mark.slow
def test_the_aws_cli_works_unchanged(aws, tmp_path):
    """Version 1 (the one on PyPI) sets an endpoint of its own for SQS unless it is told one: `update_endpoint_url`."""
    with Served("--queue", "orders") as served:
        environment = dict(os.environ) | served.environment | {"AWS_CONFIG_FILE": str(tmp_path / "none")}

        def run(*arguments):
            done = subprocess.run(
                [aws, "--endpoint-url", served.environment["AWS_ENDPOINT_URL_SQS"], "sqs", *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout) if done.stdout else None

        url = run("get-queue-url", "--queue-name", "orders")["QueueUrl"]
        run("send-message", "--queue-url", url, "--message-body", "hällo")
        (message,) = run("receive-message", "--queue-url", url, "--attribute-names", "All")["Messages"]
        assert message["Body"] == "hällo"
        run("delete-message", "--queue-url", url, "--receipt-handle", message["ReceiptHandle"])
        found = run("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
        assert found["ApproximateNumberOfMessagesNotVisible"] == "0"
