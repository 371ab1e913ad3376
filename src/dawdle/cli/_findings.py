"""Findings: what a check found wrong, why it matters and how to mend it. It checks nothing itself.

`dawdle check`, `dawdle schema check` and `dawdle sqs doctor` print with it.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec
from rich.padding import Padding
from rich.text import Text

from dawdle.cli._output import out, print_json, print_tabbed

__all__ = ["Finding", "Severity", "exit_code", "print_findings", "summary", "worst_first"]

Severity = Literal["error", "warning", "note"]
"""`error`: events are lost or stuck, or will be. `warning`: it works, and costs more or breaks more easily than it
need. `note`: what could not be checked; it does not change the exit code."""

_STYLES: Final[dict[Severity, str]] = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a check found. All texts are plain, in one line each, without markup."""

    severity: Severity
    rule: str
    """Which rule found it, such as `sqs.redrive-count`: short, stable, for those who filter."""

    where: str
    """What it is about: a queue, a handler, a field, a file with its line."""

    what: str
    """What is wrong, with the values that were found."""

    why: str
    """What comes of it."""

    fix: str
    """What to do: a command that can be pasted into a shell, or a sentence."""


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors, then warnings, then notes, each in the order in which they were found."""
    order = list(_STYLES)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if there is an error or a warning, else 0."""
    return int(any(finding.severity != "note" for finding in findings))


def summary(findings: Iterable[Finding]) -> str:
    """Return how many there are of each severity, such as `2 errors, 1 warning`; `no findings` if there is none."""
    counts = Counter(finding.severity for finding in findings)
    told = [f"{count} {name}{'s' if count > 1 else ''}" for name in _STYLES if (count := counts[name])]
    return ", ".join(told) or "no findings"


def print_findings(findings: Iterable[Finding], *, as_json: bool = False) -> None:
    """Print findings, the worst first: for eyes in a terminal, a line for each in a pipe, an array as JSON.

    In a pipe a line names the fields, and tabs separate them. A fix is never wrapped, so that it can be copied.
    """
    ordered = worst_first(findings)
    if as_json:
        print_json(ordered)
    elif sys.stdout.isatty():
        _print_for_eyes(ordered)
    else:
        print_tabbed(Finding.__struct_fields__, map(msgspec.structs.astuple, ordered))


def _print_for_eyes(findings: Sequence[Finding]) -> None:
    console = out()
    for number, finding in enumerate(findings):
        if number:
            console.print()
        head = Text.assemble(
            (finding.severity, _STYLES[finding.severity]), " ", (finding.where, "bold"), f": {finding.what} "
        )
        head.append(f"[{finding.rule}]", "dim")
        console.print(head)
        console.print(Padding(Text(finding.why), (0, 0, 0, 2), expand=False))
        # The terminal breaks the line, and not we: what is copied stays one command.
        console.print(Text(f"  {finding.fix}", "green"), soft_wrap=True)
    if findings:
        console.print()
