"""The Grafana dashboard asks for metrics and labels that there are, and its picture is that of the committed run."""

import json
import re

import pytest

from dawdle.telemetry._metrics import DESTINATION, GAUGES, METRICS, SYSTEM
from dawdle.telemetry._prometheus import prometheus_name
from tests.telemetry.panels import DASHBOARD, RUN, SVG, draw, name_of, panels

pytestmark = pytest.mark.once

TARGETS = [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
OF_PROMETHEUS = {"job", "le", "instance"}


def exposed():
    """By name of what is exposed: its labels."""
    labels = {}
    for metric in (*METRICS, *GAUGES):
        name = prometheus_name(metric)
        own = {label.replace(".", "_") for label in (SYSTEM, DESTINATION, *metric.labels)}
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}[metric.kind]
        labels |= {f"{name}{end}": own for end in ends}
    return labels


@pytest.mark.parametrize(("title", "query"), TARGETS)
def test_a_query_names_metrics_and_labels_that_there_are(title, query):
    known = exposed()
    names = set(re.findall(r"\b(?:dawdle|messaging)_\w+(?=[{\[])", query))
    assert names, query
    assert names <= known.keys()
    labels = set(re.findall(r"(\w+)=~?\"|\w+!=", query)) - {""}
    labels |= {label.strip() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")}
    assert labels - OF_PROMETHEUS <= set().union(*(known[name] for name in names)), query


def test_each_metric_that_tells_of_trouble_has_a_panel():
    asked = " ".join(query for _, query in TARGETS)
    unasked = [metric.name for metric in (*METRICS, *GAUGES) if prometheus_name(metric) not in asked]
    assert unasked == [
        "messaging.client.consumed.messages",
        "messaging.client.operation.duration",
        "dawdle.leases.lost",
        "dawdle.loop.blocked",
    ]


def test_the_dashboard_has_what_grafana_needs_of_it():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["uid"] == "dawdle"
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "job", "queue"]
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert sorted(set(ids)) == sorted(ids)
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["description"]
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_the_picture_is_that_of_the_committed_run_and_every_panel_has_figures():
    run = json.loads(RUN.read_text(encoding="utf-8"))
    assert SVG.read_text(encoding="utf-8") == draw(run)
    assert {series["panel"] for series in run} == {panel["title"] for panel in panels()}
    assert not [name_of(series) for series in run if "{{" in name_of(series)]
