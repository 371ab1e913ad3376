"""Where the user says that a queue is: URL, region and endpoint, checked. Makes no request and loads no AWS code."""

import os
import re
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from dawdle.errors import ConfigurationError

__all__ = ["QueueAddress", "environment_variable", "is_fifo"]

_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sqs:(?P<region>[a-z0-9-]*):(?P<account>[^:]+):(?P<name>[A-Za-z0-9_.-]+)$")


def environment_variable(name: str) -> str | None:
    """Return the variable `DAWDLE_SQS_<name>`, None if it is unset or empty."""
    return os.environ.get(f"DAWDLE_SQS_{name}", "").strip() or None


def is_fifo(url: str) -> bool:
    """Whether a URL is that of a FIFO queue: SQS wants this suffix in the name of each, and of no other queue."""
    return urlsplit(url).path.endswith(".fifo")


class QueueAddress(msgspec.Struct, frozen=True):
    """One queue's URL, and the region and endpoint that were given for it. None: the URL and botocore decide."""

    url: str
    region: str | None
    endpoint: str | None

    @classmethod
    def checked(cls, url: str, region: str | None, endpoint: str | None) -> Self:
        """Return the address. Raises `ConfigurationError` for what is no URL of a queue.

        A URL with a user and a password is refused: URLs are logged, and SQS takes no password.
        """
        if "@" in url or "@" in (endpoint or ""):
            raise ConfigurationError(
                "a queue URL or endpoint_url must not contain '@': give credentials by AWS's variables, profile or role"
            )
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.netloc or not parts.path.strip("/"):
            raise ConfigurationError(
                f"{url!r} is not a queue URL: it must look like https://sqs.eu-central-1.amazonaws.com/123456789012/orders"
            )
        return cls(url, region, endpoint)

    def url_for_arn(self, arn: str) -> str:
        """Return the URL of the queue with this ARN on the same server. Raises `ConfigurationError` for another ARN.

        A dead-letter queue is always in its queue's account and region, and a redrive policy names it by its ARN only.
        """
        found = _ARN.match(arn)
        if found is None:
            raise ConfigurationError(f"{arn!r} is not the ARN of a queue on SQS: set dead_letter_url")
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/{found.group('account')}/{found.group('name')}"
