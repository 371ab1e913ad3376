"""Draws the pictures of the command in the docs, each from a real run: `nox -s pictures`.

A shop works on a queue in a file, with load; one order in a hundred cannot be handled, and becomes a dead letter.
`doctor` looks at a queue of the SQS test server that was set up wrongly.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import boto3

from tests.pictures.project import write_project
from tests.pictures.terminal import draw, printed
from tests.ports import free_port, listens
from tests.servers import running

PICTURES = Path(__file__).parents[2] / "docs" / "images" / "terminal"
COLUMNS = 100
DAWDLE = (sys.executable, "-m", "dawdle")


def main() -> None:
    """Draw all pictures, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.pictures")
    parser.add_argument("names", nargs="*", help="worker, check, dead-show, top, doctor; all without a name")
    names = parser.parse_args().names
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        write_project(where)
        environment = {"DAWDLE_SQLITE_PATH": "shop.db", "PYTHONPATH": os.pathsep.join(sys.path)}
        for name, draw_it in {"worker": _worker, "check": _check, "load": _under_load, "doctor": _doctor}.items():
            if not names or name in names or (name == "load" and {"top", "dead-show"} & set(names)):
                draw_it(where, environment)


def _picture(
    name: str, shown: str, where: Path, environment: Mapping[str, str], *, ends: bool = True, columns: int = COLUMNS
) -> None:
    """Run `dawdle …` as it is shown, and draw it. `ends`: it does so itself; if not, it runs until it says nothing."""
    command = [*DAWDLE, *shown.split()[1:]]
    until = None if ends else lambda text: "dawdle started" in text
    written = printed(command, columns=columns, where=where, environment=environment, until=until)
    draw(written, PICTURES / f"{name}.svg", title=shown, columns=columns)
    print(f"{name}: {shown}")


def _worker(where: Path, environment: Mapping[str, str]) -> None:
    _picture("worker", "dawdle worker shop.main:app", where, environment, ends=False)


def _check(where: Path, environment: Mapping[str, str]) -> None:
    wrong = (where / "shop" / "handlers.py").read_text().replace("concurrency=20", "concurrency=200")
    (where / "shop" / "handlers.py").write_text(wrong)
    try:
        _picture("check", "dawdle check shop.main:app", where, {**environment, "DAWDLE_SQLITE_PATH": ""})
    finally:
        write_project(where)


def _under_load(where: Path, environment: Mapping[str, str]) -> None:
    """Draw `top` while a worker works, and then a dead letter."""
    with _working(where, environment) as port, _signaling(where, environment):
        time.sleep(15)  # until the figures of the last seconds are those of a worker under load
        _picture("top", f"dawdle top shop.main:app --workers http://127.0.0.1:{port} --once", where, environment)
    letters = subprocess.run(
        [*DAWDLE, "dead", "list", "shop.main:app"],
        cwd=where,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    first = letters.stdout.splitlines()[1].split("\t")[0]
    _picture("dead-show", f"dawdle dead show shop.main:app {first[:8]}", where, environment)


@contextmanager
def _working(where: Path, environment: Mapping[str, str]) -> Iterator[int]:
    port = free_port()
    command = [*DAWDLE, "worker", "shop.main:app", "--health-port", str(port)]
    with (where / "worker.log").open("w") as log:
        worker = subprocess.Popen(command, cwd=where, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            if not listens(port, worker, 60):
                raise SystemExit(f"the worker does not answer: {(where / 'worker.log').read_text()}")
            yield port
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(60)


LOAD = """
import asyncio, sys
import shop.main
from shop.events import OrderPlaced

async def main():
    number = 0
    async with shop.main.app.connected() as app:
        while True:
            number += 1
            await app.signal(OrderPlaced(f"o-{number}", number, "ann@example.com"))
            await asyncio.sleep(0.004)

asyncio.run(main())
"""


@contextmanager
def _signaling(where: Path, environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", LOAD], cwd=where, env={**os.environ, **environment})
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _doctor(where: Path, environment: Mapping[str, str]) -> None:
    port = free_port()
    serve = [sys.executable, "-m", "dawdle.testing.sqs", "--port", str(port), "--queue", "orders"]
    aws = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{port}",
    }
    with running(serve, port, {**os.environ, **environment}) as url:
        sqs = boto3.client(
            "sqs",
            endpoint_url=url,
            region_name="eu-central-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        queue = sqs.get_queue_url(QueueName="orders")["QueueUrl"]
        sqs.set_queue_attributes(
            QueueUrl=queue, Attributes={"VisibilityTimeout": "5", "MessageRetentionPeriod": "3600"}
        )
        _picture("doctor", f"dawdle sqs doctor {queue}", where, {**environment, **aws, "DAWDLE_SQLITE_PATH": ""})


if __name__ == "__main__":
    main()
