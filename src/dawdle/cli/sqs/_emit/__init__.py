"""The same plan in the words of another tool. Each format is one pure function from a plan to a text."""

from typing import Final, Literal, assert_never

from dawdle.cli.sqs._emit.cdk import emit_cdk
from dawdle.cli.sqs._emit.cloudformation import emit_cloudformation
from dawdle.cli.sqs._emit.iam import ROLES, Arns, Role, emit_iam
from dawdle.cli.sqs._emit.keda import emit_keda
from dawdle.cli.sqs._emit.terraform import emit_terraform
from dawdle.cli.sqs._plan import Plan

__all__ = ["FORMATS", "Format", "emit"]

Format = Literal["terraform", "cloudformation", "cdk", "iam", "keda"]
FORMATS: Final[tuple[Format, ...]] = ("terraform", "cloudformation", "cdk", "iam", "keda")


def emit(plan: Plan, as_format: Format, *, arns: Arns, role: Role | None = None, deployment: str | None = None) -> str:
    """Return a plan as a text. `arns` and `role` are for IAM, whose policies name ARNs; `deployment` is for KEDA.

    KEDA wants a region as well, and takes that of `arns`.
    """
    match as_format:
        case "terraform":
            return emit_terraform(plan)
        case "cloudformation":
            return emit_cloudformation(plan)
        case "cdk":
            return emit_cdk(plan)
        case "iam":
            return emit_iam(plan, arns, ROLES if role is None else (role,))
        case "keda":
            named = deployment or f"{plan.events.name.removesuffix('.fifo')}-worker"
            return emit_keda(plan, deployment=named, region=arns.region)
        case _:
            assert_never(as_format)
