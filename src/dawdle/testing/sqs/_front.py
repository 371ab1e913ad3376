"""From a request to its answer: signature, operation, faults, errors. Decides nothing about queues."""

import logging
from collections import Counter
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from typing import Final

import msgspec

from dawdle.testing.sqs._errors import Refusal, refuse
from dawdle.testing.sqs._faults import Asked, Rule, Trouble
from dawdle.testing.sqs._http import Exchange
from dawdle.testing.sqs._operations import OPERATIONS, target
from dawdle.testing.sqs._receiving import Waits
from dawdle.testing.sqs._service import Call, Service

__all__ = ["Front"]

_log = logging.getLogger(__name__)

_TARGET: Final = "AmazonSQS."
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_encode: Final = msgspec.json.Encoder().encode
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class ErrorResponse(msgspec.Struct):
    kind: str = msgspec.field(name="__type")
    message: str


class Front:
    """Answers requests for one service. `requests` counts them by operation."""

    def __init__(self, service: Service) -> None:
        self.requests: Counter[str] = Counter()
        self._service = service
        self._numbers = count(1)
        self._date = (-1, "")

    def handle(self, exchange: Exchange) -> None:
        """Answer one request, now or when it is due."""
        headers = exchange.request.headers
        operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
        number = next(self._numbers)
        self.requests[operation or "?"] += 1
        faults = self._service.faults
        moment = self._service.moment()
        asked = Asked(operation, target(exchange.request.body) if faults.rules else None, number, moment.at)
        trouble = faults.early(asked) if faults.rules else Trouble()
        call = Call(asked, moment, trouble)
        if trouble.delay:
            self._service.alarm.at(moment.at + trouble.delay, lambda: self._act(exchange, call))
        else:
            self._act(exchange, call)

    def _act(self, exchange: Exchange, call: Call) -> None:
        call.moment = self._service.moment()
        rule = call.trouble.instead
        if rule is not None and rule.fault in {"reset", "silence"}:
            if rule.fault == "reset":
                exchange.cut()
            return
        try:
            answer = self._carry_out(exchange, call) if rule is None else _refusal(rule)
        except Refusal as refusal:
            self._answer(exchange, call, refusal)
            return
        except Exception:  # noqa: BLE001 - one bad call must not end the others
            _log.exception("an error of the SQS server itself in %s; please report it", call.asked.operation)
            self._answer(exchange, call, refuse("InternalFailure", "An error of this server; its log has more."))
            return
        if isinstance(answer, Waits):
            answer.park(lambda late: self._answer(exchange, call, late))
        else:
            self._answer(exchange, call, answer)

    def _carry_out(self, exchange: Exchange, call: Call) -> object:
        _check_signed(exchange.request.headers)
        operation = OPERATIONS.get(call.asked.operation)
        if operation is None:
            raise refuse(
                "UnknownOperationException",
                f"No operation {call.asked.operation!r}: this server speaks the AWS JSON protocol of SQS, with the "
                "operation in the header X-Amz-Target.",
            )
        return operation(self._service, exchange.request.body, call)

    def _answer(self, exchange: Exchange, call: Call, answer: object) -> None:
        trouble = call.trouble
        if self._service.faults.rules and call.asked.operation != "ReceiveMessage":
            self._service.faults.late(call.asked, trouble)
        if trouble.lost is not None:
            if not trouble.lost.silent:
                exchange.cut()
            return
        if isinstance(answer, Refusal):
            head = f"x-amzn-query-error: {answer.query_code};{'Sender' if answer.sender else 'Receiver'}\r\n"
            body = _encode(ErrorResponse(answer.prefix + answer.code, answer.message))
            status = answer.status
        else:
            head = ""
            body = b"" if answer is None else _encode(answer)
            status = 200
        exchange.answer(
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Error')}\r\n"
            f"x-amzn-RequestId: 00000000-0000-4000-a000-{call.asked.number:012x}\r\n"
            f"Date: {self._now(trouble.skew)}\r\nContent-Type: {_CONTENT_TYPE}\r\n{head}",
            body,
        )

    def _now(self, skew: float) -> str:
        second = int(self._service.clock.now() + skew)
        if second != self._date[0]:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]


def _refusal(rule: Rule) -> Refusal:
    match rule.fault:
        case "throttle":
            return refuse("RequestThrottled", "The request was denied due to request throttling.")
        case "expired_token":
            return refuse("ExpiredTokenException", "The security token included in the request is expired")
        case "access_denied":
            return refuse("AccessDeniedException", "Access to the resource is denied.")
        case "queue_missing":
            return refuse("QueueDoesNotExist", "The specified queue does not exist.")
        case _:
            code = "ServiceUnavailable" if rule.status == 503 else "InternalFailure"
            return refuse(code, "The request failed because of a fault rule.", status=rule.status)


def _check_signed(headers: dict[str, str]) -> None:
    """Refuse a request that is not signed; by whom does not matter."""
    signature = headers.get("authorization", "")
    if not signature:
        raise refuse("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    if not signature.startswith("AWS4-HMAC-SHA256 ") or not all(
        part in signature for part in ("Credential=", "SignedHeaders=", "Signature=")
    ):
        raise refuse(
            "IncompleteSignatureException",
            "Authorization header requires Credential, SignedHeaders and Signature.",
        )
    if "x-amz-date" not in headers and "date" not in headers:
        raise refuse("IncompleteSignatureException", "A signed request has the header X-Amz-Date or Date.")
