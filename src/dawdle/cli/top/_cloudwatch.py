"""Asks CloudWatch how old the oldest message of a queue on SQS is, which SQS itself does not say. Once in a minute."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from dawdle.backends.sqs import SQS
from dawdle.cli.sqs._aws import AwsClient, AwsError, Place, open_client

__all__ = ["QueueAge", "open_age"]

PERIOD_SECONDS: Final = 60.0
"""SQS tells CloudWatch once a minute, of a queue that was used in the last six hours."""

SPAN: Final = timedelta(minutes=10)
"""How far back the newest figure may lie: it comes some minutes late."""

STATISTIC: Final = "Maximum"


@asynccontextmanager
async def open_age(name: str, queue: SQS) -> "AsyncGenerator[QueueAge]":
    """Open a client of CloudWatch in the region of a queue. `name`: what the app calls the queue."""
    place = Place(queue.client_arguments()["region_name"], None)
    async with open_client("cloudwatch", place, attempts=1) as client:
        yield QueueAge(name, queue.identity, client)


class QueueAge:
    """The age of the oldest message of one queue, as CloudWatch last told it."""

    def __init__(self, name: str, identity: str, client: AwsClient) -> None:
        self.name = name
        """The name that the app has for the queue."""
        self._queue = identity.rpartition("/")[2]
        self._client = client
        self.oldest: float | None = None
        self.note: str | None = None
        """Of when the figure is, or why there is none."""

    def period(self, interval: float) -> float:
        """Return the seconds until the next question."""
        return max(interval, PERIOD_SECONDS)

    async def ask(self) -> None:
        """Ask once. An error is an answer too."""
        now = datetime.now(UTC)
        try:
            answer = await self._client.call(
                "get_metric_statistics",
                self._queue,
                Namespace="AWS/SQS",
                MetricName="ApproximateAgeOfOldestMessage",
                Dimensions=[{"Name": "QueueName", "Value": self._queue}],
                StartTime=now - SPAN,
                EndTime=now,
                Period=int(PERIOD_SECONDS),
                Statistics=[STATISTIC],
            )
        except AwsError as error:
            allow = ": allow cloudwatch:GetMetricStatistics" if error.is_denied else ""
            self.oldest, self.note = None, f"OLDEST of {self.name} is not known: {error}{allow}"
            return
        points: list[Mapping[str, Any]] = answer.get("Datapoints", [])
        if not points:
            self.oldest, self.note = None, f"OLDEST of {self.name}: CloudWatch has no figure of the last ten minutes"
            return
        latest = max(points, key=lambda point: point["Timestamp"])
        minutes = (now - latest["Timestamp"]) / timedelta(minutes=1)
        self.oldest = float(latest[STATISTIC])
        self.note = f"OLDEST of {self.name} is what CloudWatch has of {minutes:.0f} minutes ago"
