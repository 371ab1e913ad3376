"""Every rule of the doctor, and the findings of some facts. The rules stand in the modules beside this one."""

from collections.abc import Callable, Iterator
from typing import Final

from dawdle.cli._findings import Finding
from dawdle.cli.sqs._doctor import access_rules, letter_rules, policy_rules, queue_rules
from dawdle.cli.sqs._doctor.facts import Facts

__all__ = ["RULES", "findings"]

RULES: Final[tuple[Callable[[Facts], Iterator[Finding]], ...]] = (
    *queue_rules.RULES,
    *letter_rules.RULES,
    *policy_rules.RULES,
    *access_rules.RULES,
)


def findings(facts: Facts) -> list[Finding]:
    """Return all that is wrong, in the order of the rules."""
    return [finding for rule in RULES for finding in rule(facts)]
