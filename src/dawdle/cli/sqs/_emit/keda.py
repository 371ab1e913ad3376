"""A plan as a ScaledObject of KEDA, which scales the workers' Deployment by the queue."""

from dawdle.cli.sqs._emit.quoting import yaml_text
from dawdle.cli.sqs._plan import Plan

__all__ = ["emit_keda"]


def emit_keda(plan: Plan, *, deployment: str, region: str) -> str:
    """Return two manifests. The queues' URLs are read from the environment of the Deployment's first container."""
    triggers = _trigger("DAWDLE_SQS_QUEUE_URL", deployment, region)
    if plan.delayed is not None:
        triggers += _trigger("DAWDLE_SQS_DELAY_QUEUE_URL", deployment, region)
    return "\n".join(
        [
            "apiVersion: keda.sh/v1alpha1",
            "kind: TriggerAuthentication",
            "metadata:",
            f"  name: {yaml_text(deployment)}",
            "spec:",
            "  podIdentity:",
            "    provider: aws # the role of KEDA's operator needs sqs:GetQueueAttributes on the queues",
            "---",
            "apiVersion: keda.sh/v1alpha1",
            "kind: ScaledObject",
            "metadata:",
            f"  name: {yaml_text(deployment)}",
            "spec:",
            "  scaleTargetRef:",
            f"    name: {yaml_text(deployment)}",
            "  minReplicaCount: 1 # with 0, an event that is delayed for long waits for a pod at each of its hops too",
            "  maxReplicaCount: 10",
            "  cooldownPeriod: 300",
            "  triggers:",
            *triggers,
        ]
    )


def _trigger(variable: str, name: str, region: str) -> list[str]:
    return [
        "    - type: aws-sqs-queue",
        "      authenticationRef:",
        f"        name: {yaml_text(name)}",
        "      metadata:",
        f"        queueURLFromEnv: {variable}",
        f"        awsRegion: {yaml_text(region)}",
        '        queueLength: "100" # events per pod: as many as a worker has in flight by default',
        '        scaleOnInFlight: "true"',
        '        scaleOnDelayed: "false" # what is delayed has no work yet',
    ]
