"""What a queue says of itself without a request: its sort, and its name in every process."""

from contextlib import suppress

from dawdle import DawdleError
from dawdle.abc import Backend, Described, Identified

__all__ = ["facts_of"]


def facts_of(backend: Backend | None) -> tuple[str, str]:
    """Return the sort of a queue, such as `aws_sqs`, and its identity. Each is empty where it is not known."""
    system = str(backend.description.get("messaging.system", "")) if isinstance(backend, Described) else ""
    identity = ""
    with suppress(DawdleError):  # some know it only while they are open
        identity = backend.identity if isinstance(backend, Identified) else ""
    return system, identity
