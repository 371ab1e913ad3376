"""From a request to its response: signature, operation, faults, errors. Decides nothing about queues."""

import logging
from collections import Counter
from email.utils import formatdate
from http import HTTPStatus
from itertools import count
from typing import Final

import msgspec

from dawdle.testing.sqs._errors import ServiceError, service_error
from dawdle.testing.sqs._faults import Asked, CallFaults, Rule
from dawdle.testing.sqs._http import Exchange
from dawdle.testing.sqs._operations import OPERATIONS, queue_name_in
from dawdle.testing.sqs._receive import PendingResult
from dawdle.testing.sqs._service import Call, Service

__all__ = ["Endpoint"]

_log = logging.getLogger(__name__)

_TARGET: Final = "AmazonSQS."
_CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_encode: Final = msgspec.json.Encoder().encode
_REASON_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}


class ErrorResponse(msgspec.Struct):
    kind: str = msgspec.field(name="__type")
    message: str


class Endpoint:
    """The AWS JSON protocol for one service. `requests` counts requests by operation."""

    def __init__(self, service: Service) -> None:
        self.requests: Counter[str] = Counter()
        self._service = service
        self._numbers = count(1)
        self._cached_date = (-1, "")

    def handle(self, exchange: Exchange) -> None:
        """Respond to one request: at once, when a fault rule delays it, or when a long poll ends."""
        headers = exchange.request.headers
        operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
        number = next(self._numbers)
        self.requests[operation or "?"] += 1
        faults = self._service.faults
        now = self._service.now()
        # The body is decoded for the queue's name only if there are rules: without them this costs nothing.
        asked = Asked(operation, queue_name_in(exchange.request.body) if faults.rules else None, number, now.monotonic)
        call_faults = faults.on_request(asked) if faults.rules else CallFaults()
        call = Call(asked, now, call_faults)
        if call_faults.delay:
            self._service.scheduler.call_at(now.monotonic + call_faults.delay, lambda: self._run(exchange, call))
        else:
            self._run(exchange, call)

    def _run(self, exchange: Exchange, call: Call) -> None:
        call.now = self._service.now()  # later than in `handle`, where a fault rule delayed the call
        rule = call.faults.replaced_by
        if rule is not None and rule.fault in {"reset", "silence"}:
            if rule.fault == "reset":
                exchange.reset()
            return
        try:
            result = self._execute(exchange, call) if rule is None else _error_of_fault(rule)
        except ServiceError as error:
            self._respond(exchange, call, error)
            return
        except Exception:  # noqa: BLE001 - one bad call must not end the others
            _log.exception(
                "bug in dawdle's SQS test server, please report it: %s raised an exception; the client gets HTTP 500",
                call.asked.operation,
            )
            self._respond(
                exchange,
                call,
                service_error("InternalFailure", "Bug in the SQS test server; its log has the traceback."),
            )
            return
        if isinstance(result, PendingResult):
            result.when_ready(lambda late: self._respond(exchange, call, late))
        else:
            self._respond(exchange, call, result)

    def _execute(self, exchange: Exchange, call: Call) -> object:
        _check_signed(exchange.request.headers)
        operation = OPERATIONS.get(call.asked.operation)
        if operation is None:
            raise service_error(
                "UnknownOperationException",
                f"No operation {call.asked.operation!r}: this server speaks the AWS JSON protocol of SQS, with the "
                "operation in the header X-Amz-Target.",
            )
        return operation(self._service, exchange.request.body, call)

    def _respond(self, exchange: Exchange, call: Call, result: object) -> None:
        call_faults = call.faults
        # A receive asks for these faults itself, once it has messages: only such receives count for `nth` and `share`.
        if self._service.faults.rules and call.asked.operation != "ReceiveMessage":
            self._service.faults.on_response(call.asked, call_faults)
        if call_faults.lost_answer is not None:
            if not call_faults.lost_answer.silent:
                exchange.reset()
            return
        if isinstance(result, ServiceError):
            # SDKs of the JSON protocol show the codes of the older query protocol, and read them from this header.
            head = f"x-amzn-query-error: {result.query_code};{'Sender' if result.is_sender_fault else 'Receiver'}\r\n"
            body = _encode(ErrorResponse(result.namespace + result.code, result.message))
            status = result.status
        else:
            head = ""
            body = b"" if result is None else _encode(result)
            status = 200
        exchange.respond(
            f"HTTP/1.1 {status} {_REASON_PHRASES.get(status, 'Error')}\r\n"
            f"x-amzn-RequestId: 00000000-0000-4000-a000-{call.asked.number:012x}\r\n"
            f"Date: {self._date_header(call_faults.skew)}\r\nContent-Type: {_CONTENT_TYPE}\r\n{head}",
            body,
        )

    def _date_header(self, skew: float) -> str:
        # Formatting a date costs more than the rest of the head, and it is the same for a second.
        second = int(self._service.clock.now() + skew)
        if second != self._cached_date[0]:
            self._cached_date = (second, formatdate(second, usegmt=True))
        return self._cached_date[1]


def _error_of_fault(rule: Rule) -> ServiceError:
    match rule.fault:
        case "throttle":
            return service_error("RequestThrottled", "The request was denied due to request throttling.")
        case "expired_token":
            return service_error("ExpiredTokenException", "The security token included in the request is expired")
        case "access_denied":
            return service_error("AccessDeniedException", "Access to the resource is denied.")
        case "queue_missing":
            return service_error("QueueDoesNotExist", "The specified queue does not exist.")
        case _:
            code = "ServiceUnavailable" if rule.status == 503 else "InternalFailure"
            return service_error(code, "The request failed because of a fault rule.", status=rule.status)


def _check_signed(headers: dict[str, str]) -> None:
    """Raise unless the request has the form of a signed one. The signature itself is not verified."""
    signature = headers.get("authorization", "")
    if not signature:
        raise service_error("MissingAuthenticationTokenException", "Request is missing Authentication Token")
    if not signature.startswith("AWS4-HMAC-SHA256 ") or not all(
        part in signature for part in ("Credential=", "SignedHeaders=", "Signature=")
    ):
        raise service_error(
            "IncompleteSignatureException",
            "Authorization header requires Credential, SignedHeaders and Signature.",
        )
    if "x-amz-date" not in headers and "date" not in headers:
        raise service_error("IncompleteSignatureException", "A signed request has the header X-Amz-Date or Date.")
