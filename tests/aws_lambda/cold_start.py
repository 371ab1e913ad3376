"""What a cold start of a function costs, in milliseconds of CPU: the imports, and the first and the second invocation.

    python -m tests.aws_lambda.cold_start [runs]

Each run is a process of its own, with its bytecode cached, against our SQS server in this process. CPU time and not
wall time: a first invocation waits for SQS, and that is not ours to tell.
"""

import asyncio
import os
import statistics
import sys
import tempfile
from pathlib import Path

from dawdle.testing.sqs import SQSServer

ROOT = Path(__file__).parents[2]
STEPS = (
    "import botocore",
    "import aiobotocore, with aiohttp",
    "import dawdle and dawdle.aws_lambda",
    "make the function: the app is entered",
    "the first invocation",
    "the second invocation",
)
PROGRAM = """
from time import process_time
times = [process_time()]
import botocore.session
times.append(process_time())
import aiobotocore.session
times.append(process_time())
import dawdle
from dawdle import aws_lambda
times.append(process_time())

import msgspec

class Placed(msgspec.Struct, frozen=True):
    order: str = "o-1"

@dawdle.on_event
async def stock(event: Placed):
    pass

handler = aws_lambda.handler(dawdle.Dawdle())
times.append(process_time())
for number in "12":
    handler({"Records": [{
        "messageId": number,
        "receiptHandle": number,
        "body": '{"specversion":"1.0","id":"1","source":"shop","type":"Placed","data":{}}',
        "attributes": {"ApproximateReceiveCount": "1", "SentTimestamp": "1545082649183"},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:orders",
    }]})
    times.append(process_time())
handler.close()
print(*(1000 * (after - before) for before, after in zip(times, times[1:])))
"""


async def measure(runs: int) -> list[float]:
    """Return the median of each step, in milliseconds."""
    server = SQSServer()
    server.create_queue("orders", dead_letter="dead", max_receives=1000)
    async with server:
        with tempfile.TemporaryDirectory() as cache:
            environment = (
                os.environ
                | dict(server.environment)
                | {
                    "PYTHONPATH": str(ROOT / "src"),
                    "PYTHONPYCACHEPREFIX": cache,
                    "PYTHONDONTWRITEBYTECODE": "",
                    "AWS_LAMBDA_FUNCTION_NAME": "orders",
                }
            )
            found = [await run(environment) for _ in range(runs + 1)][1:]  # the first one writes the bytecode
    return [statistics.median(step) for step in zip(*found, strict=True)]


async def run(environment: dict[str, str]) -> list[float]:
    """Return what the steps of one process took."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return [float(each) for each in said.split()]


def main() -> None:
    """Print the table of the guide."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print("| step | ms of CPU |\n|---|---|")
    for step, milliseconds in zip(STEPS, asyncio.run(measure(runs)), strict=True):
        print(f"| {step} | {milliseconds:.0f} |" if milliseconds >= 10 else f"| {step} | {milliseconds:.1f} |")


if __name__ == "__main__":
    main()
