"""Faults by rule: which call goes wrong, and how. Decides and counts; acting on it is up to the rooms that answer."""

from collections.abc import Callable, Collection, Sequence
from itertools import count
from random import Random
from typing import Final, Literal, get_args

import msgspec

from dawdle.errors import ConfigurationError

__all__ = ["Asked", "CallFaults", "FaultName", "Faults", "Fired", "Rule", "Standing"]

FaultName = Literal[
    "delay",
    "reset",
    "silence",
    "server_error",
    "throttle",
    "expired_token",
    "access_denied",
    "queue_missing",
    "entries_failed",
    "lost_answer",
    "twice",
    "comes_back",
    "skew",
]
"""What goes wrong.

`delay`: the call is carried out `seconds` later. `reset`: the connection is cut, nothing was done. `silence`: no
answer, nothing was done. `server_error`: HTTP `status`. `throttle`: `RequestThrottled` as 403. `expired_token`,
`access_denied`, `queue_missing`: that error. `entries_failed`: the `entries` (from 0) of a batch are `Failed`, the
others carried out. `lost_answer`: carried out, then the connection is cut (or, `silent`, nothing comes). `twice`:
what was received is received again, by the next receive or (`within`) in the same answer. `comes_back`: what was
deleted waits again `seconds` later. `skew`: the `Date` header is `seconds` ahead.
"""

OPERATION_NAMES: Final = frozenset(
    {
        "AddPermission",
        "CancelMessageMoveTask",
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "CreateQueue",
        "DeleteMessage",
        "DeleteMessageBatch",
        "DeleteQueue",
        "GetQueueAttributes",
        "GetQueueUrl",
        "ListDeadLetterSourceQueues",
        "ListMessageMoveTasks",
        "ListQueueTags",
        "ListQueues",
        "PurgeQueue",
        "ReceiveMessage",
        "RemovePermission",
        "SendMessage",
        "SendMessageBatch",
        "SetQueueAttributes",
        "StartMessageMoveTask",
        "TagQueue",
        "UntagQueue",
    }
)

_BATCH_OPERATIONS: Final = frozenset({"SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"})
_OPERATIONS_OF: Final[dict[str, frozenset[str]]] = {
    "entries_failed": _BATCH_OPERATIONS,
    "twice": frozenset({"ReceiveMessage"}),
    "comes_back": frozenset({"DeleteMessage", "DeleteMessageBatch"}),
}
_REPLACE_THE_CALL: Final = frozenset(
    {"reset", "silence", "server_error", "throttle", "expired_token", "access_denied", "queue_missing"}
)
_ON_RESPONSE: Final = frozenset({"lost_answer", "twice"})


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls, and what happens to them. What is left out does not restrict."""

    fault: FaultName
    operation: str | None = None
    """Such as `SendMessageBatch`; None: every operation that the fault can happen to."""

    queue: str | None = None
    nth: Sequence[int] = ()
    """Which of the calls that match otherwise, from 1."""

    share: float = 1.0
    """How many of them, from 0.0 to 1.0: the same ones whenever `seed` is the same."""

    seed: int = 0
    times: int | None = None
    """The rule is used up after it fired so often."""

    seconds: float = 0.0
    status: int = 503
    entries: Sequence[int] = (0,)
    code: str = "InternalError"
    within: bool = False
    silent: bool = False


class Asked(msgspec.Struct, frozen=True):
    """One call, as a predicate sees it."""

    operation: str
    queue: str | None
    number: int
    """Counts all calls of all operations, from 1."""

    at: float
    """Monotonic seconds of the server's clock."""


class Fired(msgspec.Struct, frozen=True):
    """One fault that happened."""

    rule: int
    fault: FaultName
    operation: str
    queue: str | None
    number: int
    at: float


class Standing:
    """A rule that stands, how many calls it has looked at, and how often it fired."""

    def __init__(self, number: int, rule: Rule, when: Callable[[Asked], bool] | None) -> None:
        self.number = number
        self.rule = rule
        self.when = when
        self.seen = 0
        self.fired = 0

    def fires_on(self, asked: Asked) -> bool:
        """Return whether this call goes wrong, and count it if so."""
        rule = self.rule
        if rule.operation != asked.operation and (
            rule.operation is not None or asked.operation not in _OPERATIONS_OF.get(rule.fault, (asked.operation,))
        ):
            return False
        if rule.queue is not None and rule.queue != asked.queue:
            return False
        if rule.times is not None and self.fired >= rule.times:
            return False
        if self.when is not None and not self.when(asked):
            return False
        self.seen += 1
        if rule.nth and self.seen not in rule.nth:
            return False
        if rule.share < 1.0 and Random(f"{rule.seed}:{self.seen}").random() >= rule.share:
            return False
        self.fired += 1
        return True


class CallFaults(msgspec.Struct):
    """All that goes wrong with one call."""

    replaced_by: Rule | None = None
    delay: float = 0.0
    skew: float = 0.0
    entries_failed: Rule | None = None
    comes_back: float | None = None
    twice: Rule | None = None
    lost_answer: Rule | None = None


class Faults:
    """The rules that stand now, and all that fired."""

    def __init__(self) -> None:
        self.rules: dict[int, Standing] = {}
        self.fired: list[Fired] = []
        self._numbers = count(1)

    def add(
        self,
        fault: FaultName,
        *,
        operation: str | None = None,
        queue: str | None = None,
        nth: int | Sequence[int] = (),
        share: float = 1.0,
        seed: int = 0,
        times: int | None = None,
        when: Callable[[Asked], bool] | None = None,
        seconds: float = 0.0,
        status: int = 503,
        entries: Sequence[int] = (0,),
        code: str = "InternalError",
        within: bool = False,
        silent: bool = False,
    ) -> Standing:
        """Add a rule; `Rule` says what the arguments mean, and the fault happens while `when(call)` is true.

        `lost_answer` and `twice` count only those receives that have messages. Raises `ConfigurationError` for a
        rule that could never fire.
        """
        rule = Rule(
            fault=fault,
            operation=operation,
            queue=queue,
            nth=(nth,) if isinstance(nth, int) else tuple(nth),
            share=share,
            seed=seed,
            times=times,
            seconds=seconds,
            status=status,
            entries=tuple(entries),
            code=code,
            within=within,
            silent=silent,
        )
        return self.stand(rule, when)

    def stand(self, rule: Rule, when: Callable[[Asked], bool] | None = None) -> Standing:
        """Add a rule that is written already. Raises `ConfigurationError`."""
        _check(rule)
        standing = Standing(next(self._numbers), rule, when)
        self.rules[standing.number] = standing
        return standing

    def remove(self, standing: Standing) -> None:
        """Remove one rule; what it did stays listed."""
        self.rules.pop(standing.number, None)

    def clear(self) -> None:
        """Remove every rule; what they did stays listed."""
        self.rules.clear()

    def on_request(self, asked: Asked) -> CallFaults:
        """Return what goes wrong before the call is carried out."""
        found = CallFaults()
        for standing in self._fire(asked, late=False, busy=found):
            rule = standing.rule
            match rule.fault:
                case "delay":
                    found.delay += rule.seconds
                case "skew":
                    found.skew += rule.seconds
                case "entries_failed":
                    found.entries_failed = rule
                case "comes_back":
                    found.comes_back = rule.seconds
                case _:
                    found.replaced_by = rule
        return found

    def on_response(self, asked: Asked, found: CallFaults) -> None:
        """Add to `trouble` what goes wrong with the answer."""
        for standing in self._fire(asked, late=True, busy=found):
            if standing.rule.fault == "twice":
                found.twice = standing.rule
            else:
                found.lost_answer = standing.rule

    def _fire(self, asked: Asked, *, late: bool, busy: CallFaults) -> Collection[Standing]:
        striking: list[Standing] = []
        instead = busy.replaced_by is not None
        for standing in self.rules.values():
            fault = standing.rule.fault
            if (
                (fault in _ON_RESPONSE) is not late
                or (fault in _REPLACE_THE_CALL and instead)
                or not standing.fires_on(asked)
            ):
                continue
            instead = instead or fault in _REPLACE_THE_CALL
            striking.append(standing)
            self.fired.append(Fired(standing.number, fault, asked.operation, asked.queue, asked.number, asked.at))
        return striking


def _check(rule: Rule) -> None:
    if rule.fault not in get_args(FaultName):
        raise ConfigurationError(f"no fault is called {rule.fault!r}; there are {', '.join(get_args(FaultName))}")
    if rule.operation is not None and rule.operation not in OPERATION_NAMES:
        raise ConfigurationError(f"this server has no operation {rule.operation!r}; SQS writes them like SendMessage")
    only = _OPERATIONS_OF.get(rule.fault)
    if only and rule.operation is not None and rule.operation not in only:
        raise ConfigurationError(
            f"the fault {rule.fault!r} cannot happen to {rule.operation}; it can to {', '.join(sorted(only))}"
        )
    if not 0.0 <= rule.share <= 1.0:
        raise ConfigurationError(f"share is a part of all calls, from 0.0 to 1.0, not {rule.share}")
    if any(number < 1 for number in rule.nth):
        raise ConfigurationError(f"calls count from 1; nth has {min(rule.nth)}")
    if rule.seconds < 0 and rule.fault != "skew":
        raise ConfigurationError(f"the fault {rule.fault!r} takes 0 or more seconds, not {rule.seconds}")
    if rule.fault == "server_error" and not 500 <= rule.status <= 599:
        raise ConfigurationError(f"a server_error has a status from 500 to 599, not {rule.status}")
