"""Makes the calls that move messages past botocore, which takes 850 of the 1,000 µs of a call. See `MessageCalls`.

What botocore knows stays with it: where requests go and what is in them (`_template`), which credentials sign them, and
after a failure whether to try again, and when (`_retries`)::

    sign ──► send ──┬── 2xx ────────────────────────────► the answer
      ▲             └── anything else ──► botocore ──┬──► raise
      └───────────────────── pause ◄─────────────────┘
"""

import asyncio
import itertools
import uuid
from collections.abc import Sequence
from time import time
from typing import Any, Final

from dawdle.abc import Delivery, Fault, Outgoing, ReleaseEntry
from dawdle.backends._http import HttpAnswer
from dawdle.backends.sqs._calls import Poll, TimeLimits
from dawdle.backends.sqs._conversion import (
    batch_results,
    delete_entries,
    deliveries_of,
    http_date_to_epoch,
    send_entries,
    system_attributes,
    visibility_entries,
)
from dawdle.backends.sqs._data_plane._credentials import SessionCredentials
from dawdle.backends.sqs._data_plane._retries import Retries
from dawdle.backends.sqs._data_plane._shapes import BatchRequest, ReceiveRequest, encode, read_batch, read_receive
from dawdle.backends.sqs._data_plane._signer import FIRST_ATTEMPT, Credentials, Request, later_attempt
from dawdle.backends.sqs._data_plane._transports import Transport
from dawdle.backends.sqs._request_attempts import RequestAttempts

__all__ = ["DataPlane", "Lane"]

_HTTP_SUCCESSES: Final = range(200, 300)


class Lane:
    """What one kind of call is sent by: polls have connections of their own, and are not tried again."""

    def __init__(self, transport: Transport, retries: Retries) -> None:
        self.transport = transport
        self.retries = retries


class DataPlane:
    """Makes the calls with one set of credentials. `polls`: None for a connection without polls."""

    def __init__(self, polls: Lane | None, requests: Lane, credentials: SessionCredentials, limits: TimeLimits) -> None:
        self._polls = polls
        self._requests = requests
        self._credentials = credentials
        self._limits = limits
        # Unique is enough for these; a uuid4 for each would take 2 µs.
        self._invocation = str(uuid.uuid4())[:24]
        self._invocations = itertools.count()

    async def receive(self, poll: Poll, attempts: RequestAttempts) -> list[Delivery]:
        """Receive messages."""
        assert self._polls is not None, "it polls"
        names = system_attributes(with_source=poll.with_source)
        body = encode(ReceiveRequest(poll.url, poll.limit, poll.lease, poll.wait, names))
        answer = await self._call(self._polls, "ReceiveMessage", body, self._limits.poll_seconds(poll.wait), attempts)
        try:
            return deliveries_of(read_receive(answer.body), _date(answer))
        except Exception:
            attempts.unreadable()
            raise

    async def send(self, url: str, batch: Sequence[Outgoing], attempts: RequestAttempts) -> list[Fault | None]:
        """Store messages."""
        return await self._batch("SendMessageBatch", BatchRequest(url, send_entries(url, batch)), attempts, batch)

    async def delete(self, url: str, receipts: Sequence[str], attempts: RequestAttempts) -> list[Fault | None]:
        """Delete received messages."""
        return await self._batch("DeleteMessageBatch", BatchRequest(url, delete_entries(receipts)), attempts)

    async def change_visibility(
        self, url: str, batch: Sequence[ReleaseEntry], attempts: RequestAttempts
    ) -> list[Fault | None]:
        """Hide received messages for so many seconds from now."""
        request = BatchRequest(url, visibility_entries(batch))
        return await self._batch("ChangeMessageVisibilityBatch", request, attempts)

    async def _batch(
        self, operation: str, request: BatchRequest, attempts: RequestAttempts, sent: Sequence[Outgoing] = ()
    ) -> list[Fault | None]:
        body = encode(request)
        answer = await self._call(self._requests, operation, body, self._limits.response_seconds, attempts)
        try:
            return batch_results(read_batch(answer.body), len(request.entries), sent)
        except Exception:
            attempts.unreadable()  # SQS did something, and the answer does not say what
            raise

    async def _call(
        self, lane: Lane, operation: str, body: bytes, seconds: float, attempts: RequestAttempts
    ) -> HttpAnswer:
        """Make a call, of one or more attempts of so many seconds each. Raises botocore's errors."""
        clock = asyncio.get_running_loop().time
        invocation = f"{self._invocation}{next(self._invocations):012x}"
        attempt, retry_state = FIRST_ATTEMPT, dict[str, Any]()
        for number in itertools.count(1):
            request = Request(operation, body, invocation, attempt)
            credentials = await self._current_credentials(attempts.deadline)
            attempts.started()
            answer = None
            try:
                answer = await lane.transport.send(request, credentials, min(seconds, attempts.deadline - clock()))
            except Exception as error:  # noqa: BLE001 - botocore knows which of them may be tried again
                attempts.finished(error, None)
                pause, failure = await lane.retries.after_error(operation, number, error, retry_state), error
            else:
                attempts.finished(None, answer.status)
                if answer.status in _HTTP_SUCCESSES:
                    if retry_state or lane.retries.owes:
                        await lane.retries.succeeded(operation, answer, retry_state)
                    return answer
                pause, failure = await lane.retries.after_answer(operation, number, answer, retry_state)
            if pause is None or clock() + pause >= attempts.deadline:
                raise failure
            await asyncio.sleep(pause)
            answered_at = None if answer is None else http_date_to_epoch(_date(answer))
            attempt = later_attempt(number + 1, self._limits.max_attempts, answered_at, seconds)
        raise AssertionError("unreachable")

    async def _current_credentials(self, deadline: float) -> Credentials:
        now = time()
        known = self._credentials.asked_at(now)
        if known is not None:
            return known
        # A program or a service may be asked for new ones. That belongs to the call, and must end with it.
        async with asyncio.timeout_at(deadline):
            return await self._credentials.frozen(now)


def _date(answer: HttpAnswer) -> str | None:
    return next((value.decode("latin-1") for name, value in answer.fields if name.lower() == b"date"), None)
