"""How findings are printed: for eyes, in a pipe, as JSON."""

import json
import re
import sys

import msgspec
import pytest

from dawdle.cli._findings import Finding, exit_code, print_findings, summary, worst_first

WARNING = Finding(
    severity="warning",
    rule="sqs.redrive-count",
    where="orders",
    what="[maxReceiveCount] is 5",
    why="Each stop of a worker is a receive, so SQS moves events away that never failed, in a day of bad deploys.",
    fix='aws sqs set-queue-attributes --queue-url http://127.0.0.1:9324/0/orders --attributes \'{"A": "B"}\'',
)
ERROR = Finding(
    severity="error", rule="sqs.missing", where="orders", what="there is no queue", why="Why.", fix="Make it."
)
NOTE = Finding(severity="note", rule="sqs.lambda", where="orders", what="not asked", why="Denied.", fix="Allow it.")


@pytest.fixture
def printed(capsys, monkeypatch):
    """`printed(findings)` returns what is printed to a pipe; `terminal=True`: to a terminal of 60 columns."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")

    def printed(findings, *, terminal=False, as_json=False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
        print_findings(findings, as_json=as_json)
        return capsys.readouterr().out

    return printed


def test_the_worst_comes_first_and_equals_keep_their_order():
    assert worst_first([NOTE, WARNING, ERROR]) == [ERROR, WARNING, NOTE]
    second = msgspec.structs.replace(WARNING, where="second")
    assert worst_first([WARNING, NOTE, second]) == [WARNING, second, NOTE]


@pytest.mark.parametrize(("findings", "code"), [([], 0), ([NOTE], 0), ([NOTE, WARNING], 1), ([ERROR], 1)])
def test_the_exit_code_is_1_with_findings_and_a_note_is_none(findings, code):
    assert exit_code(findings) == code


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([], "no findings"),
        ([NOTE], "1 note"),
        ([WARNING, ERROR, WARNING], "1 error, 2 warnings"),
    ],
)
def test_the_summary_counts_by_severity(findings, said):
    assert summary(findings) == said


def test_a_pipe_gets_a_line_for_each_with_tabs_whatever_its_width(printed):
    lines = printed([WARNING, ERROR]).splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["SEVERITY", "RULE", "WHERE"],
        ["error", "sqs.missing", "orders"],
        ["warning", "sqs.redrive-count", "orders"],
    ]
    assert lines[2].split("\t") == [
        "warning", "sqs.redrive-count", "orders", WARNING.what, WARNING.why, WARNING.fix,
    ]  # fmt: skip


def test_a_tab_or_a_line_break_in_a_text_breaks_no_line(printed):
    odd = Finding(severity="error", rule="r", where="a\tb", what="c\nd", why="e", fix="f")
    assert printed([odd]).splitlines()[1] == "error\tr\ta b\tc d\te\tf"


def test_json_is_an_array_of_all_fields(printed):
    assert json.loads(printed([WARNING], as_json=True)) == [
        {
            "severity": "warning",
            "rule": "sqs.redrive-count",
            "where": "orders",
            "what": WARNING.what,
            "why": WARNING.why,
            "fix": WARNING.fix,
        }
    ]
    assert json.loads(printed([], as_json=True)) == []


def test_a_terminal_wraps_the_reason_and_never_the_command(printed):
    told = re.sub(r"\x1b\[[0-9;]*m", "", printed([WARNING], terminal=True))
    lines = told.splitlines()
    assert lines[0] == "warning orders: [maxReceiveCount] is 5 [sqs.redrive-count]"
    assert f"  {WARNING.fix}" in lines
    reason = lines[1 : lines.index(f"  {WARNING.fix}")]
    assert len(reason) == 2
    assert all(line.startswith("  ") and len(line) <= 60 for line in reason)


def test_colours_are_used_where_a_terminal_has_them(printed):
    assert "\x1b[" in printed([ERROR], terminal=True)
    assert "\x1b[" not in printed([ERROR], terminal=True, as_json=True)
