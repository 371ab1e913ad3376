"""What AWS does around a function, in a test: an event source mapping, and the context of an invocation."""

import asyncio
import time

from aiobotocore.session import get_session

ARN = "arn:aws:lambda:us-east-1:000000000000:function:orders"


class LambdaTime:
    """The context object of an invocation that has so many seconds."""

    aws_request_id = "8f5c6a9e-1c2b-4c55-a3d1-0f1f6f0a9b11"
    invoked_function_arn = ARN

    def __init__(self, seconds):
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self):
        return max(0, int((self._ends - time.monotonic()) * 1000))


def record(message, arn):
    """Return a message as Lambda hands it to a function: Lambda developer guide, "Using Lambda with Amazon SQS"."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": "us-east-1",
    }


class EventSource:
    """An event source mapping of one queue: receives a batch, invokes the function, deletes what it does not report."""

    def __init__(self, url, arn, *, reads_reports=True, visibility=30):
        self.url, self.arn, self.reads_reports, self.visibility = url, arn, reads_reports, visibility
        self._client = None

    async def __aenter__(self):
        host = self.url.rsplit("/", 2)[0]
        self._making = get_session().create_client("sqs", endpoint_url=host, region_name="us-east-1")
        self._client = await self._making.__aenter__()
        return self

    async def __aexit__(self, *error):
        await self._making.__aexit__(*error)

    async def batch(self, limit=10, wait=5):
        """Receive messages, and return the event for the function."""
        answer = await self._client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=limit,
            WaitTimeSeconds=wait,
            AttributeNames=["All"],
            VisibilityTimeout=self.visibility,
        )
        return {"Records": [record(message, self.arn) for message in answer.get("Messages", ())]}

    async def invoke(self, handler, *, seconds=30, limit=10, wait=5, as_pipe=False):
        """Receive, invoke in a thread, delete; return the event and the answer, or raise what the function raised."""
        event, context = await self.batch(limit, wait), LambdaTime(seconds)
        if seconds < 10:  # on a busy machine the start may take all of it
            await asyncio.to_thread(handler, {"Records": []})
            context = LambdaTime(seconds)
        answer = await asyncio.to_thread(handler, event["Records"] if as_pipe else event, context)
        assert context.get_remaining_time_in_millis(), "Lambda would have killed it"
        await self.settle(event, answer)
        return event["Records"], answer

    async def settle(self, event, answer):
        """Delete what a function has not reported."""
        failed = {each["itemIdentifier"] for each in answer["batchItemFailures"]} if self.reads_reports else set()
        for each in event["Records"]:
            if each["messageId"] not in failed:
                await self._client.delete_message(QueueUrl=self.url, ReceiptHandle=each["receiptHandle"])

    async def send(self, body, **options):
        """Send a message that is not dawdle's."""
        await self._client.send_message(QueueUrl=self.url, MessageBody=body, **options)


def ids(answer):
    """The messages that an answer reports."""
    return {each["itemIdentifier"] for each in answer["batchItemFailures"]}
