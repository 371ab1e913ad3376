"""Asks botocore whether a failed attempt is tried again. All of it runs after a failure only, so it may take its time.

botocore decides that in subscribers of two events: `needs-retry` (which errors, how often, after which pause, and
whether the quota of retries is spent) and `after-call` (a success gives quota back). Its own calls emit them, and so do
the data plane's. So both ways to SQS share one rule, and it is botocore's standard mode.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

from botocore.awsrequest import HeadersDict
from botocore.exceptions import ClientError

from dawdle.backends._http import HttpAnswer
from dawdle.backends.sqs._data_plane._shapes import read_error

__all__ = ["Retries"]

_MOST_QUOTA_PER_RETRY: Final = 14
"""What one retry takes from botocore's quota, at most. Each success without a retry gives back 1."""

_QUOTA: Final = 500
"""What there is to take."""


class Retries:
    """The rule of one client of botocore."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.owes = 0
        """Successes that botocore must hear of until its quota is full again, whatever was taken from it."""

    async def after_error(self, operation: str, number: int, error: Exception, state: dict[str, Any]) -> float | None:
        """Return the seconds until the next attempt; None if there is none. `state`: of this call, for botocore."""
        return await self._pause(operation, number, None, error, state)

    async def after_answer(
        self, operation: str, number: int, answer: HttpAnswer, state: dict[str, Any]
    ) -> tuple[float | None, ClientError]:
        """Return the same for an answer that is no success, and the error that botocore raises for it."""
        response = _response(answer)
        parsed = read_error(answer.status, response.headers.get("x-amzn-query-error"), answer.body)
        pause = await self._pause(operation, number, (response, parsed), None, state)
        return pause, ClientError(parsed, operation)

    async def succeeded(self, operation: str, answer: HttpAnswer, state: dict[str, Any]) -> None:
        """Tell botocore of a success. Needed after a retry of this call, and while quota is owed."""
        self.owes = max(0, self.owes - 1)
        model = self._client.meta.service_model.operation_model(operation)
        await self._client.meta.events.emit(
            f"after-call.sqs.{operation}", http_response=_response(answer), parsed={}, model=model, context=state
        )

    async def _pause(
        self, operation: str, number: int, response: object, error: Exception | None, state: dict[str, Any]
    ) -> float | None:
        answers: Sequence[tuple[Any, float | None]] = await self._client.meta.events.emit(
            f"needs-retry.sqs.{operation}",
            response=response,
            endpoint=None,
            operation=self._client.meta.service_model.operation_model(operation),
            attempts=number,
            caught_exception=error,
            request_dict={"context": state},
        )
        pause = next((each for _, each in answers if each is not None), None)
        if pause is None or pause is False:
            return None
        self.owes = min(self.owes + _MOST_QUOTA_PER_RETRY, _QUOTA)
        return pause


def _response(answer: HttpAnswer) -> Any:
    """Return what botocore's subscribers read of a response."""
    headers = HeadersDict()
    for name, value in answer.headers.items():
        headers[name.decode("latin-1")] = value.decode("latin-1")
    return SimpleNamespace(status_code=answer.status, headers=headers)
