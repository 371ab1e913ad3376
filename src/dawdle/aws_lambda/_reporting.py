"""Finds out whether Lambda reads `batchItemFailures`: nothing that a function is given says so. Asks at most once.

Where it does not read them, an answer that names what failed counts as a success, and Lambda deletes the messages.
"""

import asyncio
import os
from typing import Any, Final

from dawdle._log import Log

__all__ = ["Reporting", "in_lambda"]

_log = Log(__name__)

ASK_SECONDS: Final = 5.0
MIN_ASK_SECONDS: Final = 0.5
"""Seconds for the question, at most and at least. It may be asked when the function's time is nearly over."""


def in_lambda() -> bool:
    """Whether this process is one of AWS Lambda's."""
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ


class Reporting:
    """Whether reports are read, by queue. `said`: what the user says, for all of them; None: nothing."""

    def __init__(self, said: bool | None) -> None:
        self._said = said
        self._known: dict[str, bool] = {}

    async def is_read(self, queue_arn: str, context: object, seconds: float) -> bool:
        """Return whether a report about this queue's messages is known to be read. `seconds`: the time to find out."""
        if self._said is not None:
            return self._said
        if not in_lambda():  # a test, or a script: nothing deletes what it reports
            return True
        if queue_arn not in self._known and seconds < MIN_ASK_SECONDS:
            return False  # there is no time for the answer
        if queue_arn not in self._known:
            function = str(getattr(context, "invoked_function_arn", ""))
            self._known[queue_arn] = await _ask(queue_arn, function, min(seconds, ASK_SECONDS))
        return self._known[queue_arn]


async def _ask(queue_arn: str, function: str, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            mappings = await asyncio.to_thread(_mappings, queue_arn, function)
    except Exception as error:  # noqa: BLE001 - denied, no network, no time: whatever it is, the answer is not known
        _log.warning(
            "cannot tell whether the event source mapping of %s has ReportBatchItemFailures, so messages that are done "
            "are deleted here and unfinished ones end the invocation with an error: set it, and write "
            "dawdle.aws_lambda.handler(app, report_batch_item_failures=True) or allow lambda:ListEventSourceMappings: "
            "%s",
            queue_arn,
            error,
        )
        return False
    types = [each.get("FunctionResponseTypes", ()) for each in mappings]
    read = bool(types) and all("ReportBatchItemFailures" in each for each in types)
    if not read:
        _log.error(
            "the event source mapping of %s does not have ReportBatchItemFailures: messages that are done are deleted "
            "here, and unfinished ones end the invocation with an error; add FunctionResponseTypes: "
            "[ReportBatchItemFailures] to the mapping",
            queue_arn,
        )
    return read


def _mappings(queue_arn: str, function: str) -> list[dict[str, Any]]:
    """Return the event source mappings of a queue and this function. Raises what botocore raises."""
    import botocore.session  # noqa: PLC0415 - needed once, where something is unfinished
    from botocore.config import Config  # noqa: PLC0415 - as above

    config = Config(connect_timeout=1, read_timeout=ASK_SECONDS, retries={"total_max_attempts": 1})
    session: Any = botocore.session.Session()
    client = session.create_client("lambda", config=config)
    try:
        answer: dict[str, Any] = client.list_event_source_mappings(EventSourceArn=queue_arn, FunctionName=function)
    finally:
        client.close()
    return list(answer["EventSourceMappings"])
