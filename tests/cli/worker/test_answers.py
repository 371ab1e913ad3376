"""What a worker of several processes answers: one answer, made of theirs."""

import json

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dawdle.cli.worker._answers import Seen, health, live, ready, stats
from dawdle.cli.worker._figures import Merged, exposition


def seen(place, status=200, state="working", answer=None):
    raw = None if status is None else msgspec.Raw(json.dumps(answer or {"status": "ready"}).encode())
    return Seen(process=place, pid=place * 100, state=state, status=status, answer=raw)


def said(reply):
    return reply.status, json.loads(reply.body)


LIVE = (200, {"status": "live"})
READY = (200, {"status": "ready"})


def not_ready(reason):
    return 503, {"status": "not ready", "reason": reason}


def test_a_worker_is_live_while_one_of_its_processes_answers_or_is_being_started():
    assert said(live([])) == LIVE
    assert said(live([seen(1, None), seen(2)])) == LIVE
    assert said(live([seen(1, None, "starting")])) == LIVE
    dead = {"status": "dead", "reason": "no process answers: their event loops are blocked"}
    assert said(live([seen(1, None), seen(2, None)])) == (503, dead)
    assert said(live([seen(1, 503)])) == (503, dead)


@pytest.mark.parametrize(
    ("processes", "answer"),
    [
        ([seen(1), seen(2)], READY),
        ([seen(1), seen(2), seen(2, 503, "stopping")], READY),
        ([seen(1), seen(2), seen(2, None, "starting")], READY),
        ([seen(1)], not_ready("process 2 has ended, and is started again")),
        ([seen(1), seen(2, None, "starting")], not_ready("process 2 is starting")),
        ([seen(1, None, "stopping"), seen(2)], not_ready("process 1 is stopping")),
        ([seen(1), seen(2, None)], not_ready("process 2: it does not answer: its event loop is blocked")),
        ([seen(1, 503, answer={"status": "not ready", "reason": "denied"})], not_ready("process 1: denied")),
    ],
)
def test_a_worker_is_ready_when_a_process_is_in_each_place(processes, answer):
    assert said(ready(processes, 2)) == answer


def test_health_has_each_process_and_all_reasons():
    report = {"ready": False, "reasons": ["a", "b"], "health": {}}
    status, body = said(health([seen(1, 503, answer=report), seen(2, None, "starting")], 2))
    assert status == 503
    assert body["reasons"] == ["process 1: a; b", "process 2 is starting"]
    assert body["processes"][0] == {"process": 1, "pid": 100, "state": "working", "status": 503, "answer": report}
    assert body["processes"][1] == {"process": 2, "pid": 200, "state": "starting"}


def test_stats_are_one_list_of_those_of_all_processes():
    assert said(stats([b'[{"pid":1}]', b'[{"pid":2}]'])) == (200, [{"pid": 1}, {"pid": 2}])
    assert said(stats([])) == (200, [])


def metrics_of(jobs, seconds):
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs so far, \\ of all\nkinds.", ["kind"], registry=registry)
    counter.labels('a "b"\n').inc(jobs)
    Gauge("depth", "Messages.", registry=registry).set(seconds)
    Histogram("run_seconds", "Runs.", buckets=(1, 5), registry=registry).observe(seconds)
    return generate_latest(registry).decode()


def samples_of(text):
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_metrics_of_several_processes_are_told_apart_by_a_label_and_stay_as_they_were():
    texts = {1: metrics_of(3, 0.5), 2: metrics_of(4, 9)}
    text = exposition(Merged(texts)).decode()
    merged = samples_of(text)
    for place, its in texts.items():
        for (name, labels), value in samples_of(its).items():
            assert merged.pop((name, labels | {("process", str(place))})) == value
    assert not merged
    assert text.count("# TYPE jobs_total counter") == text.count("# HELP jobs_total") == 1
    assert r"# HELP jobs_total Jobs so far, \\ of all\nkinds." in text


def test_a_label_process_of_the_app_is_kept_under_the_name_that_prometheus_gives_it():
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs.", ["process", "exported_process"], registry=registry)
    for step in ("import", "export"):
        counter.labels(step, "x").inc()
    merged = samples_of(exposition(Merged({2: generate_latest(registry).decode()})).decode())
    named = {dict(labels)["exported_exported_process"]: dict(labels) for _, labels in merged}
    assert named == {
        step: {"process": "2", "exported_process": "x", "exported_exported_process": step}
        for step in ("import", "export")
    }
