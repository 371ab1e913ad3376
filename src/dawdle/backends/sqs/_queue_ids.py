"""Account and name of a queue, from its URL or its ARN: the same however it is reached. Makes no request.

A dead letter keeps them, so that an app that shares a dead-letter queue with others redrives only its own letters.
"""

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["has_account_id", "identity_from_arn", "identity_from_url"]

_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sqs:[a-z0-9-]*:(?P<account>[^:]+):(?P<name>[A-Za-z0-9_.-]+)")
_WITH_ACCOUNT: Final = re.compile(r"[0-9]{12}/.+")


def identity_from_url(url: str) -> str:
    """Return `account/name`, the end of the URL's path. Its host is no part: VPC endpoints and legacy names differ."""
    return "/".join(urlsplit(url).path.strip("/").split("/")[-2:])


def identity_from_arn(arn: str) -> str | None:
    """Return `account/name`, or None if it is not the ARN of a queue."""
    found = _ARN.fullmatch(arn)
    return None if found is None else f"{found['account']}/{found['name']}"


def has_account_id(identity: str) -> bool:
    """Whether an identity begins with an account id. The URLs of some emulators do not, and match no ARN."""
    return _WITH_ACCOUNT.fullmatch(identity) is not None
