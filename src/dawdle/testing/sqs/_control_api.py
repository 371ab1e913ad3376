"""The control API: faults and counts over HTTP, for tests in another process or language. Not signed."""

from collections import Counter
from typing import Final

import msgspec

from dawdle.errors import ConfigurationError
from dawdle.testing.sqs._faults import Fired, Rule, Standing
from dawdle.testing.sqs._http import Exchange
from dawdle.testing.sqs._service import Service

__all__ = ["ControlApi"]

_ROOT: Final = "/_control/"


class RuleResponse(msgspec.Struct):
    id: int
    rule: Rule
    seen: int
    fired: int


class FaultsResponse(msgspec.Struct):
    rules: list[RuleResponse]
    fired: list[Fired]


class QueueResponse(msgspec.Struct):
    url: str
    visible: int
    in_flight: int
    delayed: int


class ControlError(msgspec.Struct):
    error: str


class ControlApi:
    """Answers `GET`, `POST` and `DELETE` on `/_control/faults`, and `GET` on `/_control/requests` and `…/queues`."""

    def __init__(self, service: Service, requests: Counter[str]) -> None:
        self._service = service
        self._requests = requests

    def handle(self, exchange: Exchange) -> bool:
        """Respond to a request if it is one of the control API; return whether it was."""
        path = exchange.request.path
        if not path.startswith(_ROOT):
            return False
        try:
            response = self._route(exchange.request.method, path.removeprefix(_ROOT), exchange.request.body)
        except (ConfigurationError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            _respond(exchange, "400 Bad Request", ControlError(str(error)))
        else:
            if response is None:
                _respond(
                    exchange, "404 Not Found", ControlError(f"the control API has no {exchange.request.method} {path}")
                )
            else:
                _respond(exchange, "200 OK", response)
        return True

    def _route(self, method: str, path: str, body: bytes) -> object | None:
        faults = self._service.faults
        match method, path.rstrip("/").split("/"):
            case "GET", ["faults"]:
                return FaultsResponse([_rule_response(standing) for standing in faults.rules.values()], faults.fired)
            case "POST", ["faults"]:
                return _rule_response(faults.stand(msgspec.json.decode(body, type=Rule)))
            case "DELETE", ["faults"]:
                faults.clear()
                return FaultsResponse([], faults.fired)
            # An id that is not there goes on to the last case, and is 404.
            case "DELETE", ["faults", number] if number.isdecimal() and int(number) in faults.rules:
                return _rule_response(faults.rules.pop(int(number)))
            case "GET", ["requests"]:
                return dict(self._requests)
            case "GET", ["queues"]:
                return self._queues()
            case _:
                return None

    def _queues(self) -> dict[str, QueueResponse]:
        at = self._service.now().monotonic
        found: dict[str, QueueResponse] = {}
        for name, queue in self._service.queues.items():
            queue.advance(at)
            found[name] = QueueResponse(self._service.url(queue), queue.visible, queue.in_flight, queue.delayed)
        return found


def _rule_response(standing: Standing) -> RuleResponse:
    return RuleResponse(standing.number, standing.rule, standing.seen, standing.fired)


def _respond(exchange: Exchange, status: str, response: object) -> None:
    exchange.respond(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n", msgspec.json.encode(response) + b"\n")
