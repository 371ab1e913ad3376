"""Workers that share a queue and differ."""

import json

import pytest

from dawdle import AppDescription, EventTypeDescription
from dawdle.cli._snapshot import Answer, HandlerStats, QueueStats, WorkerStats
from dawdle.cli.check._worker_rules import worker_findings
from tests.cli.shop import MAIN


def worker(pid, handlers, place="q", slots=100):
    return WorkerStats(
        host="a",
        pid=pid,
        handlers=tuple(HandlerStats(name=name, types=types) for name, types in handlers.items()),
        queues=(QueueStats(name="default", place=place, slots=slots),),
    )


def app(**event_type):
    if not event_type:
        return AppDescription(queues=(), handlers=(), functions=(), event_types=(), settings={})
    given = {"demanded": (), "elsewhere": (), **event_type}
    made = EventTypeDescription(
        name="Placed",
        aliases=(),
        version=1,
        upcasters=(),
        class_name="shop.Placed",
        style="struct",
        fields=(),
        faults=(),
        queues=("default",),
        handlers=(),
        expires=None,
        unclaimed="retry",
        **given,
    )
    return AppDescription(queues=(), handlers=(), functions=(), event_types=(made,), settings={})


BOTH = {"mail": ("Placed",), "audit": ("*",)}


def found(description, workers):
    return worker_findings(description, [Answer(url="http://a:1", stats=workers)])


def rules(description, workers):
    return [each.rule for each in found(description, workers)]


def test_workers_that_are_alike_are_fine():
    assert rules(app(), [worker(1, BOTH), worker(2, BOTH)]) == []


def test_a_handler_that_only_some_workers_of_a_queue_have_is_an_error():
    (one,) = found(app(), [worker(1, BOTH), worker(2, {"mail": ("Placed",)})])
    assert (one.rule, one.where) == ("workers.handlers", "handler audit")
    assert "a:1 has it and a:2 lacks it" in one.what


def test_a_handler_that_takes_other_types_elsewhere_is_an_error():
    assert rules(app(), [worker(1, BOTH), worker(2, {**BOTH, "mail": ("Sent",)})]) == ["workers.types"]


@pytest.mark.parametrize(
    "other", [worker(2, {}, place="another"), worker(2, {}, slots=0)], ids=["of another queue", "that only signals"]
)
def test_a_worker_that_does_not_share_the_queue_may_differ(other):
    assert rules(app(), [worker(1, BOTH), other]) == []


def test_a_handler_that_a_type_demands_may_be_on_some_workers_only():
    assert rules(app(demanded=("audit",)), [worker(1, BOTH), worker(2, {"mail": ("Placed",)})]) == []


def test_a_demanded_handler_that_no_worker_has_is_an_error():
    description = app(demanded=("crm",), elsewhere=("crm",))
    assert rules(description, [worker(1, BOTH)]) == ["workers.missing"]
    assert rules(description, [worker(1, BOTH), worker(2, {**BOTH, "crm": ("Placed",)})]) == []
    assert rules(description, []) == []


def test_a_worker_that_does_not_answer_is_told():
    (one,) = worker_findings(app(), [Answer(url="http://a:1", error="does not answer: connection refused")])
    assert (one.rule, one.what) == ("workers.silent", "does not answer: connection refused")


def test_the_health_ports_of_workers_are_asked(cli):
    cli.write("shop.py", MAIN)
    ran = cli("check", "shop:app", "--workers", "127.0.0.1:9", "--json")
    assert "workers.silent" in {each["rule"] for each in json.loads(ran.out)}
    assert cli("check", "shop:app", "--workers", "ftp://x").code == 2
