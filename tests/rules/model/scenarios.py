"""One event each, and a world that it goes through. Small, so that all of it can be visited."""

from collections.abc import Mapping

import msgspec

import dawdle
from dawdle import Registry, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.envelope import write
from dawdle._rules.outcome import AtLimit, Done, Failed, Interrupted, Postponed, Rejected
from dawdle._rules.terms import Terms
from tests.rules.model.truth import Scenario
from tests.rules.model.world import UNCLAIMED, Truth

REACH = 900.0
DELAY = 2400.0
"""Seconds. Three hops of 900 s, 900 s and 600 s."""

LEASE = 300.0
"""Seconds, in the chain of delays: a part of each hop, so that fewer moments differ."""

ALL = (Done(), Failed("no"), Rejected("no"), Postponed(3.0), AtLimit(40.0, 0.5), Interrupted())
FEW = (Done(), Failed("no"), Interrupted())


class Placed(msgspec.Struct):
    text: str = ""


@dawdle.event("model.Named", handlers=("a", "b"))
class Named(msgspec.Struct):
    text: str = ""


def handlers_of(handlers: Mapping[str, Retry], kind: type = Placed) -> AppHandlers:
    registry = Registry()
    for name, retry in handlers.items():
        registry.on_event(kind, name=name, retry=retry)(lambda event: None)
    return AppHandlers(registry)


def body_of(**attributes: object) -> bytes:
    return write({"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "Placed"} | attributes)


def terms_of(**changes: object) -> Terms:
    usual: dict[str, object] = {"max_hop": REACH, "has_dead_letters": True, "shared": True, "unclaimed": UNCLAIMED}
    return Terms(**{**usual, "max_body": 1_048_576, **changes})


ONE_HOP = 900.0
"""Seconds that a handler is kept which nothing can be done for: no chain of hops, which another scenario has."""

TWICE = Retry(max_attempts=2, initial=5, max_delay=ONE_HOP, jitter=0)
THRICE = Retry(max_attempts=3, initial=7, max_delay=ONE_HOP, jitter=0)
QUICK = Retry(max_attempts=2, initial=1, factor=1, max_delay=ONE_HOP, jitter=0)
ONCE = Retry(max_attempts=1, max_delay=ONE_HOP)
BOTH = handlers_of({"a": TWICE, "b": THRICE})
BOTH_QUICK, ONLY_A = handlers_of({"a": QUICK, "b": QUICK}), handlers_of({"a": QUICK})
BOTH_ONCE = handlers_of({"a": ONCE, "b": ONCE})
NONE = AppHandlers(Registry())

FAN_OUT = Scenario("fan-out", body_of(), (BOTH, BOTH), terms_of(), 4, ALL)
CHAIN = Scenario(
    "delay chain",
    body_of(dawdledelay=str(int(DELAY * 1000))),
    (BOTH_ONCE, BOTH_ONCE),
    terms_of(),
    4,
    (Done(), Failed("no")),
    truth=Truth(due=DELAY),
    wait=REACH,
    lapses=(0.0, LEASE),
)
ROLLING = FAN_OUT._replace(name="a node lacks a handler", lookups=(BOTH_QUICK, ONLY_A), outcomes=FEW)
UNDECODABLE = FAN_OUT._replace(name="no event at all", body=b"\x00", is_poison=True, outcomes=FEW)
UNREADABLE = FAN_OUT._replace(name="data of another type", body=body_of(data={"text": 5}), is_poison=True)
NO_DEAD = {"has_dead_letters": False}
NO_DELAY = {"max_hop": 0.0}


def _under(scenario: Scenario, how: str, **changes: object) -> Scenario:
    """The same under other terms."""
    return scenario._replace(name=f"{scenario.name}, {how}", terms=terms_of(**changes))


NO_DELAYS = _under(CHAIN._replace(wait=0.0), "the queue cannot delay", **NO_DELAY)
OWED = ROLLING._replace(
    name="a node lacks the owed handler", body=body_of(dawdleowed="b"), over=frozenset("a"), faults=3
)
WANTED_BY_NONE = ROLLING._replace(name="no node has a handler", lookups=(NONE, NONE))
NAMED = FAN_OUT._replace(
    name="each node lacks a handler that the type names",
    body=body_of(type="model.Named"),
    lookups=(handlers_of({"a": ONCE}, Named), handlers_of({"b": ONCE}, Named)),
    faults=3,
    outcomes=FEW,
    is_named=True,
)

REMEMBERED = FAN_OUT._replace(name="fan-out, workers remember", outcomes=FEW, remembers=True)
EARLY = FAN_OUT._replace(name="fan-out, a copy is sent early", stores_early=True, faults=3)
DIRECT = FAN_OUT._replace(name="a direct event", is_direct=True)
DIRECT_EARLY = DIRECT._replace(name="a direct event, a copy is sent early", outcomes=FEW, stores_early=True)
KILLS = FAN_OUT._replace(
    name="what kills its process", lookups=(BOTH_ONCE, BOTH_ONCE), outcomes=FEW, counts_receives=True, receives=3
)

NAMED_DIRECT = NAMED._replace(name="a direct event whose type names what a node lacks", is_direct=True, faults=2)

SCENARIOS = [
    FAN_OUT,
    REMEMBERED,
    EARLY,
    EARLY._replace(name="a copy is sent early, workers remember", outcomes=FEW, remembers=True, faults=3),
    ROLLING._replace(name="a node lacks a handler, a copy is sent early", stores_early=True, faults=3),
    DIRECT,
    DIRECT_EARLY,
    DIRECT._replace(
        name="a direct event, a node lacks a handler", lookups=(BOTH_QUICK, ONLY_A), outcomes=FEW, faults=3
    ),
    _under(DIRECT_EARLY, "no dead-letter queue", **NO_DEAD),
    _under(DIRECT_EARLY, "the queue cannot delay", **NO_DELAY),
    CHAIN._replace(name="delay chain, workers remember", remembers=True, faults=2),
    ROLLING._replace(name="a node lacks a handler, workers remember", remembers=True, faults=3),
    KILLS,
    _under(FAN_OUT._replace(outcomes=(*FEW, Rejected("no"))), "no dead-letter queue", **NO_DEAD),
    _under(FAN_OUT._replace(outcomes=(*FEW, Rejected("no"))), "the queue cannot delay", **NO_DELAY),
    _under(FAN_OUT._replace(outcomes=FEW), "neither", **NO_DEAD, **NO_DELAY),
    CHAIN,
    NO_DELAYS,
    _under(CHAIN._replace(faults=3), "no dead-letter queue", **NO_DEAD),
    ROLLING,
    OWED,
    ROLLING._replace(name="a node has no handlers", lookups=(BOTH_ONCE, NONE), faults=3),
    WANTED_BY_NONE,
    NAMED,
    NAMED_DIRECT,
    NAMED._replace(
        name="a node lacks all handlers that the type names, another has all",
        lookups=(NONE, handlers_of({"a": QUICK, "b": QUICK}, Named)),
    ),
    NAMED._replace(name="the type names what a node lacks, workers remember", remembers=True, faults=2),
    _under(NAMED._replace(faults=1), "no dead-letter queue", **NO_DEAD),
    _under(NAMED._replace(faults=1), "the queue cannot delay", **NO_DELAY),
    _under(ROLLING._replace(faults=3), "no dead-letter queue", **NO_DEAD),
    _under(ROLLING._replace(faults=3), "the queue cannot delay", **NO_DELAY),
    UNDECODABLE,
    _under(UNDECODABLE, "no dead-letter queue", **NO_DEAD)._replace(ends=False),
    _under(UNDECODABLE, "neither", **NO_DEAD, **NO_DELAY)._replace(ends=False),
    UNREADABLE,
    _under(UNREADABLE, "no dead-letter queue", **NO_DEAD)._replace(ends=False),
]
