"""Who must handle a type is said on it: what a node lacks of them is owed a copy, and the names are checked."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dawdle import JSON, Registry, Retry
from dawdle._handlers.app_handlers import AppHandlers
from dawdle._rules.admission import MISSING_GRACE_SECONDS, Run, admit
from dawdle._rules.copies import copies_for_missing
from dawdle._rules.envelope import open_envelope, rewrite, to_rfc3339, write
from dawdle._rules.outcome import Done, Failed, Interrupted
from dawdle._rules.settlement import Ack, Forward, Release, Result, settle
from dawdle._rules.terms import Terms
from dawdle.errors import ConfigurationError
from dawdle.events import MAX_HANDLERS, declaration_of, event

NOW = 1_750_000_000.0
NAMES = ("mail", "crm", "stats")
TERMS = Terms(max_hop=900.0, has_dead_letters=True, shared=True, unclaimed=86400.0, max_body=1_048_576)
IN_MEMORY = msgspec.structs.replace(TERMS, shared=False)


@event("missing.Placed", handlers=NAMES)
class Placed(msgspec.Struct):
    text: str = ""


@event("missing.Optional", handlers=NAMES, unclaimed="drop")
class Optional(msgspec.Struct):
    pass


def handlers_of(*names, kind=Placed, **options):
    registry = Registry()
    for name in names:
        registry.on_event(kind, name=name, **options)(lambda event: None)
    return AppHandlers(registry)


def body_of(**attributes):
    return write(
        {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "missing.Placed", "dawdledelay": "5"}
        | attributes
    )


def admitted(lookup, body, terms=TERMS, now=NOW):
    return admit(
        body, open_envelope(body), lookup, {"application/json": JSON()}, stored_at=NOW - 10, now=now, terms=terms,
        random=lambda: 0.0,
    )  # fmt: skip


def settled(body, outcomes, missing, terms=TERMS, **options):
    results = [Result(name, Retry(), outcome) for name, outcome in outcomes.items()]
    envelope = open_envelope(body)
    return settle(
        body,
        envelope,
        results,
        attempt=envelope.attempt,
        now=NOW,
        terms=terms,
        random=lambda: 0.0,
        missing=missing,
        **options,
    )


def owed(forward):
    return sorted(open_envelope(copy.body).owed for copy in forward.copies)


here = st.sets(st.sampled_from([*NAMES, "audit"]), min_size=1)
outcomes = st.sampled_from([Done(), Failed("no"), Interrupted()])


@given(here)
def test_a_node_runs_the_handlers_that_it_has_and_says_which_it_lacks(names):
    run = admitted(handlers_of(*names), body_of())
    assert isinstance(run, Run)
    assert {handler.name for handler in run.handlers} == names
    assert set(run.missing) == set(NAMES) - names


@given(here, st.data())
def test_every_named_handler_is_done_or_owed_one_copy_or_keeps_the_message(names, data):
    run = admitted(handlers_of(*names), body_of())
    made = {handler.name: data.draw(outcomes) for handler in run.handlers}
    decision = settled(body_of(), made, run.missing)
    unfinished = {name for name, outcome in made.items() if outcome != Done()}
    match decision:
        case Release():
            assert set(made.values()) == {Interrupted()}, "nothing was done, and the message itself comes back"
        case Ack():
            assert not unfinished
            assert not run.missing
        case Forward():
            assert owed(decision) == sorted(unfinished | set(run.missing))
            for copy in decision.copies:
                if copy.handler in run.missing:
                    envelope = open_envelope(copy.body)
                    assert (copy.why, copy.delay, envelope.attempt, envelope.due) == ("missing", 0.0, 1, None)


def test_an_alias_is_a_name():
    assert admitted(handlers_of("sales", aliases=["crm"]), body_of()).missing == ("mail", "stats")
    run = admitted(handlers_of("sales", aliases=["crm"]), body_of(dawdleowed="crm"))
    assert [handler.name for handler in run.handlers] == ["sales"]


def test_a_copy_for_one_handler_makes_no_copies_for_the_others():
    run = admitted(handlers_of("mail"), body_of(dawdleowed="mail"))
    assert run.missing == ()


def test_a_type_that_names_no_handler_is_handled_as_before():
    @event("missing.Silent")
    class Silent(msgspec.Struct):
        pass

    run = admitted(handlers_of("mail", kind=Silent), body_of(type="missing.Silent"))
    assert run.missing == ()
    assert settled(body_of(), {"mail": Done()}, ()) == Ack()


def test_a_node_that_has_none_of_them_leaves_the_whole_event_to_another():
    decision = admitted(handlers_of("heart", kind=Optional), body_of())
    (copy,) = decision.copies
    assert copy.why == "missing"
    assert open_envelope(copy.body).owed is None


def test_a_type_that_may_be_dropped_is_not_dropped_for_those_that_it_names():
    decision = admitted(handlers_of("heart"), body_of(type="missing.Optional"))
    assert owed(decision) == sorted(NAMES)
    assert isinstance(admitted(handlers_of("heart"), body_of(type="missing.Optional"), IN_MEMORY), Ack)


def test_in_memory_no_other_node_can_have_them():
    assert copies_for_missing(body_of(), NAMES, NOW, IN_MEMORY) == ()
    assert settled(body_of(), {"mail": Done()}, ("crm",), IN_MEMORY) == Ack()
    run = admitted(handlers_of("mail"), body_of(), IN_MEMORY)
    assert run.missing == ("crm", "stats"), "so that it can be told"


@pytest.mark.parametrize(
    ("age", "why"),
    [(None, "missing"), (MISSING_GRACE_SECONDS - 1, "missing"), (MISSING_GRACE_SECONDS + 1, "unclaimed")],
)
def test_a_named_handler_that_is_missing_here_is_reported_only_after_a_while(age, why):
    since = {} if age is None else {"dawdlesince": to_rfc3339(NOW - age)}
    (copy,) = admitted(handlers_of("mail"), body_of(dawdleowed="crm", **since)).copies
    assert (copy.why, copy.handler, open_envelope(copy.body).owed) == (why, "crm", "crm")
    (copy,) = admitted(handlers_of("mail"), body_of(dawdleowed="unnamed")).copies
    assert copy.why == "unclaimed"


def test_a_copy_for_a_named_handler_is_offered_often_enough_to_find_one_node_of_three():
    age, times = 0.0, 0
    while age < 600:
        since = {"dawdlesince": to_rfc3339(NOW - age)}
        (copy,) = admitted(handlers_of("mail"), body_of(dawdleowed="crm", **since)).copies
        age, times = age + copy.delay, times + 1
    assert times >= 30, "of three nodes two miss it as often for one copy in 100,000"
    while age < 86_300:
        since = {"dawdlesince": to_rfc3339(NOW - age)}
        (copy,) = admitted(handlers_of("mail"), body_of(dawdleowed="crm", **since)).copies
        age, times = age + copy.delay, times + 1
    assert times <= 200, "and a day without its node costs no more than that"


def test_a_direct_event_that_is_done_here_owes_what_is_missing():
    decision = settled(body_of(), {"mail": Interrupted()}, ("crm",), held=False)
    assert owed(decision) == ["crm", "mail"]


def test_the_handlers_that_come_and_go_change_what_is_missing():
    registry = Registry()
    lookup = AppHandlers(registry)
    assert lookup.missing_for(Placed, None) == NAMES
    registry.on_event(Placed, name="crm")(lambda event: None)
    assert lookup.missing_for(Placed, None) == ("mail", "stats")
    registry.remove("crm")
    assert lookup.missing_for(Placed, None) == NAMES


# What handlers= takes


def declared(**options):
    return declaration_of(event("missing.Declared", **options)(msgspec.defstruct("Declared", [])))


def test_the_names_are_kept_in_order():
    assert declared(handlers=["b", "a.c", "d:e-f"]).handlers == ("b", "a.c", "d:e-f")
    assert declared().handlers == ()


@pytest.mark.parametrize("wrong", ["mail", 5, None, ["a b"], [""], ["x" * 201], [5], ["mail", "mail"], [str]])
def test_what_holds_no_names_of_handlers_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=r"handlers.*names"):
        event("missing.Refused", handlers=wrong)


def test_more_names_than_a_message_should_make_copies_are_refused():
    many = [f"h{number}" for number in range(MAX_HANDLERS + 1)]
    with pytest.raises(ConfigurationError, match="up to 100 names"):
        event("missing.Refused", handlers=many)
    assert len(declared(handlers=many[:-1]).handlers) == MAX_HANDLERS


def test_a_copy_is_the_event_and_nothing_of_how_it_waited():
    (copy,) = copies_for_missing(body_of(tenant="x"), ("crm",), NOW, TERMS)
    assert copy.body == rewrite(body_of(tenant="x"), {"dawdleowed": "crm", "dawdledelay": None})
