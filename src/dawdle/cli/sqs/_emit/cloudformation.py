"""A plan as a template of CloudFormation, in YAML: the queues, and what the environment of a program must say."""

from dawdle.cli.sqs._emit.quoting import logical_id, yaml_text
from dawdle.cli.sqs._plan import Plan, QueuePlan

__all__ = ["emit_cloudformation"]


def emit_cloudformation(plan: Plan) -> str:
    """Return a template. A queue stays when the stack is deleted: it may hold events."""
    lines = [
        'AWSTemplateFormatVersion: "2010-09-09"',
        f"Description: {yaml_text(f'Queues for the events of {plan.events.name}.')}",
        "",
        "Resources:",
    ]
    for queue in plan.queues:
        lines += [*_queue(plan, queue), ""]
    lines += ["Outputs:", *_output("QueueUrl", "DAWDLE_SQS_QUEUE_URL", plan.events)]
    lines += _output("DeadLetterUrl", "DAWDLE_SQS_DEAD_LETTER_URL", plan.dead_letters)
    if plan.delayed is not None:
        lines += _output("DelayQueueUrl", "DAWDLE_SQS_DELAY_QUEUE_URL", plan.delayed)
    return "\n".join(lines)


def _queue(plan: Plan, queue: QueuePlan) -> list[str]:
    lines = [
        f"  {logical_id(queue.name)}:",
        "    Type: AWS::SQS::Queue",
        "    DeletionPolicy: Retain",
        "    UpdateReplacePolicy: Retain",
        "    Properties:",
        f"      QueueName: {yaml_text(queue.name)}",
    ]
    for name, value in queue.attributes.items():
        plain = value.isdigit() or value in {"true", "false"}
        lines.append(f"      {name}: {value if plain else yaml_text(value)}")
    if queue is plan.events:
        lines += [
            "      RedrivePolicy:",
            f"        deadLetterTargetArn: !GetAtt {logical_id(plan.dead_letters.name)}.Arn",
            f"        maxReceiveCount: {plan.max_receives}",
        ]
    return lines


def _output(name: str, variable: str, queue: QueuePlan) -> list[str]:
    return [f"  {name}:", f"    Description: {variable}", f"    Value: !Ref {logical_id(queue.name)}"]
