"""Fault rules: which call goes wrong, and how. Decides and counts; `_endpoint` and the operations act on it."""

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

- `delay`: the call runs `seconds` later.
- `reset`: the connection is reset, and the call does not run.
- `silence`: no response, and the call does not run.
- `server_error`: HTTP `status`. `throttle`: `RequestThrottled`, HTTP 403. `expired_token`, `access_denied`,
  `queue_missing`: that error. The call does not run.
- `entries_failed`: the `entries` of a batch (positions from 0) are `Failed` with `code`; the others are processed.
- `lost_answer`: the call runs, then the connection is reset; with `silent`, there is no response.
- `twice`: a received message is received again by the next receive, or (`within`) comes twice in the same response.
- `comes_back`: a deleted message is visible again after `seconds`.
- `skew`: the `Date` header is `seconds` ahead.
"""

# `_operations` has these as a table of functions, but needs this module; a test keeps the two alike.
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
# At most one of these happens to a call: it does not run, so nothing else can go wrong with it.
_REPLACE_THE_CALL: Final = frozenset(
    {"reset", "silence", "server_error", "throttle", "expired_token", "access_denied", "queue_missing"}
)
# These are decided when the response is there, since a receive counts only if it has messages.
_ON_RESPONSE: Final = frozenset({"lost_answer", "twice"})


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls, and what happens to them. A field that is left out does not restrict."""

    fault: FaultName
    operation: str | None = None
    """Such as `SendMessageBatch`; None: every operation that this fault is possible for."""

    queue: str | None = None
    nth: Sequence[int] = ()
    """Which of the calls that match otherwise, counted from 1."""

    share: float = 1.0
    """The share of these calls, from 0.0 to 1.0. The same seed picks the same calls."""

    seed: int = 0
    times: int | None = None
    """The rule fires at most this often."""

    seconds: float = 0.0
    status: int = 503
    entries: Sequence[int] = (0,)
    code: str = "InternalError"
    within: bool = False
    silent: bool = False


class Asked(msgspec.Struct, frozen=True):
    """One call, as a `when` predicate sees it."""

    operation: str
    queue: str | None
    number: int
    """The number of this call among all calls, from 1."""

    at: float
    """Monotonic seconds of the server's clock."""


class Fired(msgspec.Struct, frozen=True):
    """One fault that has happened."""

    rule: int
    fault: FaultName
    operation: str
    queue: str | None
    number: int
    at: float


class Standing:
    """A rule in force: `seen` is how many calls matched it, `fired` how often it made one go wrong."""

    def __init__(self, number: int, rule: Rule, when: Callable[[Asked], bool] | None) -> None:
        self.number = number
        self.rule = rule
        self.when = when
        self.seen = 0
        self.fired = 0

    def fires_on(self, asked: Asked) -> bool:
        """Return whether the rule makes this call go wrong, and count that."""
        # The order matters: a call counts for `nth` and `share` only if everything else matches.
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
        # By the number of the call and not by a running generator, so that one more call changes no other's fate.
        if rule.share < 1.0 and Random(f"{rule.seed}:{self.seen}").random() >= rule.share:
            return False
        self.fired += 1
        return True


class CallFaults(msgspec.Struct):
    """The faults of one call."""

    replaced_by: Rule | None = None
    delay: float = 0.0
    skew: float = 0.0
    entries_failed: Rule | None = None
    comes_back: float | None = None
    twice: Rule | None = None
    lost_answer: Rule | None = None


class Faults:
    """The rules that are in force, and all faults that have happened."""

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
        """Add a rule. `Rule` documents the arguments; `when(call)` must be true as well for the fault to happen.

        Of receives, `lost_answer` and `twice` count only those that return messages. Raises `ConfigurationError` for a
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
        """Add a rule that is already a `Rule`. Raises `ConfigurationError`."""
        _check(rule)
        standing = Standing(next(self._numbers), rule, when)
        self.rules[standing.number] = standing
        return standing

    def remove(self, standing: Standing) -> None:
        """Remove one rule; the faults that it caused stay in `fired`."""
        self.rules.pop(standing.number, None)

    def clear(self) -> None:
        """Remove every rule; the faults that they caused stay in `fired`."""
        self.rules.clear()

    def on_request(self, asked: Asked) -> CallFaults:
        """Return the faults that are decided before the call runs."""
        found = CallFaults()
        for standing in self._fire(asked, on_response=False, found=found):
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
        """Add to `found` the faults that are decided when there is a response."""
        for standing in self._fire(asked, on_response=True, found=found):
            if standing.rule.fault == "twice":
                found.twice = standing.rule
            else:
                found.lost_answer = standing.rule

    def _fire(self, asked: Asked, *, on_response: bool, found: CallFaults) -> Collection[Standing]:
        firing: list[Standing] = []
        replaced = found.replaced_by is not None
        for standing in self.rules.values():
            fault = standing.rule.fault
            # `fires_on` comes last: it counts the call, also against `times` and `nth`.
            if (
                (fault in _ON_RESPONSE) is not on_response
                or (fault in _REPLACE_THE_CALL and replaced)
                or not standing.fires_on(asked)
            ):
                continue
            replaced = replaced or fault in _REPLACE_THE_CALL
            firing.append(standing)
            self.fired.append(Fired(standing.number, fault, asked.operation, asked.queue, asked.number, asked.at))
        return firing


def _check(rule: Rule) -> None:
    if rule.fault not in get_args(FaultName):
        raise ConfigurationError(f"there is no fault {rule.fault!r}; the faults are {', '.join(get_args(FaultName))}")
    if rule.operation is not None and rule.operation not in OPERATION_NAMES:
        raise ConfigurationError(
            f"there is no operation {rule.operation!r}; operations are written as SQS does, such as SendMessage"
        )
    only = _OPERATIONS_OF.get(rule.fault)
    if only and rule.operation is not None and rule.operation not in only:
        raise ConfigurationError(
            f"the fault {rule.fault!r} is not possible for {rule.operation}, only for {', '.join(sorted(only))}"
        )
    if not 0.0 <= rule.share <= 1.0:
        raise ConfigurationError(f"share is {rule.share}; it must be from 0.0 to 1.0")
    if any(number < 1 for number in rule.nth):
        raise ConfigurationError(f"nth has {min(rule.nth)}; calls are counted from 1")
    if rule.seconds < 0 and rule.fault != "skew":
        raise ConfigurationError(f"seconds is {rule.seconds}; the fault {rule.fault!r} takes 0 or more")
    if rule.fault == "server_error" and not 500 <= rule.status <= 599:
        raise ConfigurationError(f"status is {rule.status}; a server_error takes 500 to 599")
